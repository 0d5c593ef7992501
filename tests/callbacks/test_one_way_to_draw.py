"""Pictures, scores and sample.py draw the same samples, with gradients if a guidance needs them."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ddpm_lightning.diffusion.guidance import GuidedDenoiser
from ddpm_lightning.diffusion.target import Prediction, eps_from_x_0
from ddpm_lightning.pictures import grid_by_class
from ddpm_lightning.verbs.sample import sample
from ddpm_lightning.verbs.train import train

SCORED = ("callbacks=[generative_metrics,pictures,checkpointing]", "logger=none", "trainer.max_steps=1",
          "trainer.limit_train_batches=1", "metrics.chunk_size=7", "callbacks.sample_grid.num_samples=16",
          "optimizer.lr=0.05", "optimizer.warmup_steps=0", "ema.decay=0.3")  # fmt: skip


def samples_in(folder: Path) -> np.ndarray:
    with np.load(folder / "samples.npz") as file:
        return file["images"]


@pytest.mark.parametrize(
    "options",
    [["sampler.eta=1.0"], ["model.num_classes=10", "guidance=classifier_free"], ["sampler=heun", "sampler.steps=2"]],
    ids=lambda options: options[0],
)
def test_pictures_scores_and_sample_draw_the_same(compose_verb, tiny_options, tiny_paths, tmp_path, options):
    train(compose_verb("train", *tiny_options, *SCORED, *options, "seeds.samples=6"))
    scored = samples_in(tmp_path / "run")
    assert len(np.unique(scored, axis=0)) == 16
    picture = np.asarray(Image.open(tmp_path / "run" / "pictures" / "samples" / "step-0000001.png"))
    num_classes = 10 if "model.num_classes=10" in options else None
    assert np.array_equal(grid_by_class(torch.from_numpy(scored), num_classes).permute(1, 2, 0), picture)
    command = compose_verb("sample", *tiny_paths, "trainer.accelerator=cpu", f"checkpoint={tmp_path / 'run'}", "seed=6",
                           "num=16", "format=npz", "chunk_size=7", folder=tmp_path / "drawn")  # fmt: skip
    assert np.array_equal(samples_in(sample(command)), scored)


class TowardsBrightness(GuidedDenoiser):
    """Moves x_0 along the gradient, with respect to x_t, of how bright the predicted image is."""

    def describe(self) -> dict[str, str]:
        return {"name": "towards_brightness"}

    def __call__(
        self, x_t: Tensor, t: Tensor, label: Tensor | None = None, estimate: Tensor | None = None
    ) -> Prediction:
        assert not torch.is_grad_enabled()  # only a guidance that needs gradients pays for them
        with torch.enable_grad():
            x_t = x_t.detach().requires_grad_()
            prediction = self.denoiser(x_t, t, label, estimate)
            (gradient,) = torch.autograd.grad(prediction.x_0.mean(dim=(1, 2, 3)).sum(), x_t)
        assert gradient.abs().sum() > 0
        x_0 = prediction.x_0.detach() + 300 * gradient
        return Prediction(x_0, eps_from_x_0(x_t.detach(), x_0, self.schedule.rates(t)))


@pytest.fixture
def own_guidance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guidance above in a module that configs can name, as a user's own would be."""
    module = ModuleType("own_guidance")
    module.TowardsBrightness = TowardsBrightness
    monkeypatch.setattr(TowardsBrightness, "__module__", module.__name__)
    monkeypatch.setitem(sys.modules, "own_guidance", module)


OWN = ["guidance._target_=own_guidance.TowardsBrightness"]


@pytest.mark.usefixtures("own_guidance")
def test_a_guidance_can_use_gradients_everywhere(compose_verb, tiny_options, tiny_paths, tmp_path):
    train(compose_verb("train", *tiny_options, *SCORED, *OWN))
    scored = samples_in(tmp_path / "run")
    options = [*tiny_paths, "trainer.accelerator=cpu", f"checkpoint={tmp_path / 'run'}", "num=16", "format=npz"]
    options.append("trust=own_guidance")
    drawn = sample(compose_verb("sample", *options, "chunk_size=7", folder=tmp_path / "drawn"))
    assert np.array_equal(samples_in(drawn), scored)
    plain = sample(compose_verb("sample", *options, "guidance=none", folder=tmp_path / "plain"))
    assert samples_in(plain).mean() < scored.mean() - 1


@pytest.mark.usefixtures("own_guidance")
def test_parameters_get_no_gradients_from_a_guidance(run_with):
    run = run_with(*SCORED[:1], *OWN)
    run.trainer.test(run.module, run.data, verbose=False)
    assert [name for name, parameter in run.module.named_parameters() if parameter.grad is not None] == []
    assert [p for p in run.module.ema.network.parameters() if p.grad is not None] == []


def test_scores_keep_no_graph_without_guidance(run_with):
    run = run_with("callbacks=generative_metrics")
    tracked = []
    network = run.module.evaluation_denoiser().network
    network.register_forward_hook(lambda module, inputs, output: tracked.append(output.requires_grad))
    run.trainer.test(run.module, run.data, verbose=False)
    assert tracked and not any(tracked)
