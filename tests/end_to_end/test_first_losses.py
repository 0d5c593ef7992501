"""Commands keep their meaning: the losses of a first batch are those that version 0.1 had, at its commit 3be321e.

`first_losses.json` has, for each command line, the loss of the first eight images of the training split (noised
as in step 0) with the initial weights, and with noise of deviation `DISTURBANCE` added to them, so that the
output counts.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ddpm_lightning.data.batch import Batch
from ddpm_lightning.runs.build import build_data, build_module
from ddpm_lightning.runs.plain_config import resolved
from ddpm_lightning.training.module import DiffusionModule

RECORDED = json.loads((Path(__file__).parent / "first_losses.json").read_text())
DISTURBANCE = 0.02


class FirstStep(DiffusionModule):
    """Step 0 of a training on one device, without a trainer."""

    trainer = SimpleNamespace(world_size=1, accumulate_grad_batches=1)
    global_step = 0
    global_rank = 0

    def log(self, *args: object, **options: object) -> None:
        """There is no logger."""


@pytest.mark.slow
@pytest.mark.parametrize("command", RECORDED)
def test_the_first_losses_are_those_of_before(compose_verb, tmp_path_factory, command):
    cache, words = tmp_path_factory.getbasetemp() / "first_losses", command.split()
    config = resolved(compose_verb("train", f"paths.cache_dir={cache}", "dataset.batch_size=8", "ema=none", *words))
    clothes = Path(config.paths.data_dir) / "FashionMNIST"
    if "fashion" in command and not clothes.is_dir():
        pytest.skip(f"FashionMNIST is not in {clothes}")
    data = build_data(config)
    images = data.split("train")
    module = build_module(config, data.image_shape, data.num_classes)
    module.normalizer.fit(data.split("train"))
    module.__class__ = FirstStep
    indices = torch.arange(8)
    batch = Batch(
        torch.from_numpy(images.images_at(indices.numpy())),
        torch.from_numpy(images.labels_at(indices.numpy())),
        indices,
    )
    losses = [module.training_step(batch, 0).item()]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.network.parameters():
            parameter += DISTURBANCE * torch.randn(parameter.shape, generator=generator)
    losses.append(module.training_step(batch, 0).item())
    assert losses == pytest.approx(RECORDED[command], rel=1e-6, abs=1e-6)
