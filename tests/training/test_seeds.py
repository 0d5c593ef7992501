"""The four seeds: each changes only the draws that it names."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor

from ddpm_lightning.callbacks.generative_metrics import GenerativeMetrics
from ddpm_lightning.callbacks.sample_grid import SampleGrid
from ddpm_lightning.callbacks.trajectory import DenoisingTrajectory
from ddpm_lightning.diffusion.randomness import Purpose
from ddpm_lightning.runs.build import build_callbacks
from ddpm_lightning.runs.drawing import sample_stream
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.draws import StepDraws
from ddpm_lightning.verbs.train import train

NAMES = ("init", "order", "noise", "samples")
CHANGED_BY = {
    "init": {"weights"},
    "order": {"batches"},
    "noise": {"t", "eps", "flips", "labels withheld"},
    "samples": {"x_T", "the metrics' seed", "the pictures' seeds"},
}


class Recorder(Callback):
    """Records the inputs of each training step."""

    def __init__(self) -> None:
        self.batches: list[Tensor] = []
        self.noised: list[Any] = []
        self.labels: list[Tensor] = []

    def on_train_start(self, trainer, pl_module):
        objective = pl_module.objective

        def recorded(output, noised, value_range):
            self.noised.append(noised)
            return objective(output, noised, value_range)

        pl_module.objective = recorded
        pl_module.network.register_forward_pre_hook(lambda network, inputs: self.labels.append(inputs[2]))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append(batch.images)


def of_a_run(tiny_run: Callable, *overrides: str) -> dict[str, Any]:
    """Everything in a run that a seed could change."""
    recorder = Recorder()
    run = tiny_run("trainer.max_steps=3", "dataset.batch_size=20", "dataset.flip=true", "model.num_classes=10",
                   "label_dropout=0.5", "trainer.limit_val_batches=0", "optimizer.lr=0",
                   "~callbacks.progress_bar", *overrides, callbacks=[recorder])  # fmt: skip
    weights = torch.cat([parameter.detach().flatten() for parameter in run.module.network.parameters()])
    callbacks = build_callbacks(run.config)
    (metrics,) = (callback for callback in callbacks if isinstance(callback, GenerativeMetrics))
    pictures = [callback for callback in callbacks if isinstance(callback, SampleGrid | DenoisingTrajectory)]
    stream = sample_stream(run.module, metrics.sampler, metrics.guidance, metrics.plan.seed, 4)
    starts: list[Tensor] = []
    object.__setattr__(stream, "sampler", lambda denoiser, x, *others: starts.append(x) or x)
    stream.draw(torch.arange(4))
    run.fit()
    mirrored = [
        (noised.x_0 != (images / 127.5 - 1)).flatten(1).any(1)
        for noised, images in zip(recorder.noised, recorder.batches, strict=True)
    ]
    return {
        "weights": weights,
        "batches": torch.stack(recorder.batches),
        "t": torch.stack([noised.t for noised in recorder.noised]),
        "eps": torch.stack([noised.eps for noised in recorder.noised]),
        "flips": torch.stack(mirrored),
        "labels withheld": torch.stack([label == 10 for label in recorder.labels]),
        "x_T": starts[0],
        "the metrics' seed": torch.tensor(metrics.plan.seed),
        "the pictures' seeds": torch.tensor([picture.seed for picture in pictures]),
    }


@pytest.fixture(scope="module")
def known() -> dict[str, dict[str, Any]]:
    """The run with all seeds at their defaults, filled in by the first test."""
    return {}


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_changes_only_the_draws_that_it_names(tiny_run, known, name):
    if not known:
        known["plain"] = of_a_run(tiny_run)
    before, after = known["plain"], of_a_run(tiny_run, f"seeds.{name}=5")
    changed = {what for what, value in before.items() if not torch.equal(value, after[what])}
    assert changed == CHANGED_BY[name]


def test_together_they_are_the_one_seed(tiny_run):
    """`seed` affects draws only through the four."""
    one, four = of_a_run(tiny_run, "seed=5"), of_a_run(tiny_run, *(f"seeds.{name}=5" for name in NAMES))
    assert all(torch.equal(value, four[what]) for what, value in one.items())


def test_another_order_has_the_same_images_in_an_epoch(tiny_run):
    def epoch(*overrides: str) -> list[bytes]:
        recorder = Recorder()
        tiny_run("trainer.max_steps=10", "trainer.limit_val_batches=0", *overrides, callbacks=[recorder]).fit()
        return [image.numpy().tobytes() for images in recorder.batches for image in images]

    first, other = epoch(), epoch("seeds.order=5")
    assert first != other and sorted(first) == sorted(other)


def test_the_four_follow_the_seed_unless_set(compose_verb):
    seeds = compose_verb("train", "seed=3", "seeds.order=8").seeds
    assert dict(seeds) == {"init": 3, "order": 8, "noise": 3, "samples": 3}
    assert compose_verb("train", "seed=3").metrics.seed == 3
    assert compose_verb("train", "seed=3", "seeds.samples=1").metrics.seed == 1
    assert compose_verb("train", "seeds.samples=1", "metrics.seed=2").callbacks.sample_grid.seed == 1


def test_the_noise_seed_is_that_of_the_draws(tiny_run):
    recorder = Recorder()
    tiny_run("trainer.max_steps=1", "trainer.limit_val_batches=0", "seeds.noise=9", callbacks=[recorder]).fit()
    expected = StepDraws(9, 0, 0, torch.arange(4)).normal(Purpose.NOISE, (1, 28, 28))
    assert torch.equal(recorder.noised[0].eps, expected)


def test_all_four_are_in_the_config_and_on_the_card(compose_verb, tiny_options, tmp_path):
    seeds = {"init": 1, "order": 2, "noise": 3, "samples": 4}
    options = [f"seeds.{name}={value}" for name, value in seeds.items()]
    train(compose_verb("train", *tiny_options, *options, "callbacks=[checkpointing,generative_metrics]", "logger=none"))
    config = RunFolder(tmp_path / "run").read_config()
    assert (config["seed"], config["seeds"]) == (0, seeds)
    card = json.loads((tmp_path / "run" / "metrics.json").read_text())["card"]
    assert (card["seeds"], card["seed"]) == (seeds, 4)
