"""A model in three lines: the samples of `sample.py`, without Hydra and without Lightning."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import ddpm_lightning
from ddpm_lightning.runs.exported import write_exported
from ddpm_lightning.runs.instantiate import instantiate
from ddpm_lightning.runs.saved_model import read_trained
from ddpm_lightning.training.checkpoint import CONFIG_KEY, read_checkpoint
from ddpm_lightning.verbs.sample import sample
from ddpm_lightning.verbs.train import train

KERAS = "model=keras_unet"
VERSION_1 = Path(__file__).parents[1] / "fixtures" / "version_1" / "run"


@pytest.fixture
def trained(compose_verb: Callable, tiny_options: list[str], tmp_path: Path) -> Callable[..., Path]:
    """`trained(*overrides)`: the folder of a tiny run."""

    def make(*overrides: str) -> Path:
        quick = ["optimizer.lr=0.05", "logger=none", "callbacks=[checkpointing,generative_metrics]"]
        quick += [] if "ema=none" in overrides else ["ema.decay=0.3"]
        tiny = [word for word in tiny_options if not (KERAS in overrides and word.startswith("model."))]
        train(compose_verb("train", *tiny, *quick, *overrides))
        return tmp_path / "run"

    return make


@pytest.fixture
def drawn(compose_verb: Callable, tmp_path: Path) -> Callable[..., np.ndarray]:
    """`drawn(checkpoint, *overrides)`: eight samples by `sample.py`."""

    def make(checkpoint: Path, *overrides: str) -> np.ndarray:
        words = (f"checkpoint={checkpoint}", "num=8", "format=npz", "trainer.accelerator=cpu", *overrides)
        folder = sample(compose_verb("sample", *words, folder=tmp_path / f"drawn-{len(list(tmp_path.iterdir()))}"))
        with np.load(folder / "samples.npz") as file:
            return file["images"]

    return make


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("model.num_classes=10", "guidance=classifier_free", "sampler.eta=1.0"),
        ("schedule=flow", "loss_on=flow", "sampler=heun", "sampler.steps=3", "ema=none"),
        ("self_conditioning=true", "model.num_classes=10", "guidance=classifier_free", "timesteps=importance"),
        ("trainer.precision=bf16-mixed", "predict=velocity", "loss_on=image", "grid=karras", "weights=raw"),
    ],
    ids=" ".join,
)
def test_the_samples_are_those_of_sample_py(trained: Callable, drawn: Callable, options: tuple[str, ...]) -> None:
    folder = trained(*options)
    expected = drawn(folder, "seed=5", "chunk_size=3")
    images = ddpm_lightning.load(folder).sample(8, seed=5, chunk_size=3)
    assert images.dtype == torch.uint8
    assert len(np.unique(expected, axis=0)) == 8
    assert np.array_equal(images.numpy(), expected)


@pytest.mark.parametrize(
    "options",
    [
        ("model.num_classes=10", "guidance=classifier_free", "sampler.eta=1.0", "normalizer=standardized"),
        (KERAS, "model.channels=[8,8]", "trainer.precision=bf16-mixed", "self_conditioning=true"),
        ("timesteps=importance", "variance=learned_range", "loss=hybrid"),
        ("model=unet_diffusers", "ema=none", "schedule=edm", "loss_on=edm"),
    ],
    ids=" ".join,
)
def test_an_exported_model_draws_the_same_samples(trained: Callable, tmp_path: Path, options: tuple[str, ...]) -> None:
    folder = trained(*options)
    write_exported(read_trained(folder), tmp_path / "exported")
    run, exported = ddpm_lightning.load(folder), ddpm_lightning.load(tmp_path / "exported")
    assert torch.equal(exported.sample(8, seed=5, chunk_size=3), run.sample(8, seed=5, chunk_size=3))
    config = {section: node for section, node in run.config.items() if section != "paths"}
    assert (exported.card, exported.config, exported.image_shape) == (run.card, config, run.image_shape)


def test_the_estimate_of_self_conditioning_changes_samples_and_predictions(trained: Callable) -> None:
    model = ddpm_lightning.load(trained("self_conditioning=true", "optimizer.lr=0.3"))
    x_t, alone = torch.randn(3, 1, 28, 28), model.denoiser.forward
    samples, prediction = model.sample(8), model.denoise(x_t, 0.5)
    model.denoiser.forward = lambda x_t, t, label, estimate=None: alone(x_t, t, label)
    assert not torch.equal(model.sample(8), samples)
    assert not torch.equal(model.denoise(x_t, 0.5).x_0, prediction.x_0)


def test_a_checkpoint_is_loaded_from_within_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(VERSION_1 / "checkpoints")
    assert ddpm_lightning.load("last.ckpt").card == ddpm_lightning.load(VERSION_1).card


def test_a_network_that_normalises_and_data_that_are_standardised(trained: Callable, drawn: Callable) -> None:
    folder = trained(KERAS, "model.channels=[8,8]", "normalizer=standardized")
    assert np.array_equal(ddpm_lightning.load(folder).sample(8).numpy(), drawn(folder))


def test_steps_sampler_label_and_guidance_are_chosen_per_call(trained: Callable, drawn: Callable) -> None:
    folder = trained("model.num_classes=10")
    model = ddpm_lightning.load(folder)
    assert np.array_equal(model.sample(8, steps=3).numpy(), drawn(folder, "sampler.steps=3"))
    assert np.array_equal(model.sample(8, label=7).numpy(), drawn(folder, "label=7"))
    heun = ddpm_lightning.Heun(steps=2)
    assert np.array_equal(model.sample(8, sampler=heun).numpy(), drawn(folder, "sampler=heun", "sampler.steps=2"))
    guidance = lambda denoiser: ddpm_lightning.ClassifierFreeGuidance(denoiser, scale=3.0)  # noqa: E731
    expected = drawn(folder, "guidance=classifier_free", "guidance.scale=3")
    assert np.array_equal(model.sample(8, guidance=guidance).numpy(), expected)
    with pytest.raises(ValueError, match="classes 0 to 9"):
        model.sample(2, label=10)
    with pytest.raises(ValueError, match="n must be at least 1"):
        model.sample(0)


def test_denoise_predicts_the_image_and_the_noise_of_x_t(trained: Callable) -> None:
    model = ddpm_lightning.load(trained("model.num_classes=10"))
    x_t, t = torch.randn(3, 1, 28, 28), 0.4
    prediction = model.denoise(x_t, t, label=2)
    alpha, sigma = model.denoiser.schedule.rates(torch.tensor([t]))
    torch.testing.assert_close(alpha * prediction.x_0 + sigma * prediction.eps, x_t, rtol=0, atol=1e-4)
    assert not torch.equal(model.denoise(x_t, t, label=3).x_0, prediction.x_0)
    with pytest.raises(ValueError, match="label=10 does not exist: this model has the classes 0 to 9"):
        model.denoise(x_t, t, label=10)
    assert torch.equal(model.denoise(x_t, torch.full((3,), t), torch.full((3,), 2)).x_0, prediction.x_0)


def test_names_are_completed_before_they_are_imported() -> None:
    assert {"load", "DDIM", "CosineSchedule"} <= set(dir(ddpm_lightning))


def test_what_is_not_a_sampler_or_an_image_is_refused(trained: Callable) -> None:
    model = ddpm_lightning.load(trained())
    with pytest.raises(TypeError, match=r"sampler must be an object such as ddpm_lightning.DDPM\(\), not 'ddpm'"):
        model.sample(1, sampler="ddpm")
    with pytest.raises(ValueError, match=r"x_t must have the shape \(n, 1, 28, 28\), not \(1, 28, 28\)"):
        model.denoise(torch.zeros(1, 28, 28), 0.5)


def test_a_model_knows_its_config_and_its_card(trained: Callable) -> None:
    folder = trained()
    model = ddpm_lightning.load(folder)
    assert model.card == json.loads((folder / "metrics.json").read_text())["card"]
    assert model.config == read_checkpoint(folder / "checkpoints" / "last.ckpt")[CONFIG_KEY]
    (folder / "metrics.json").unlink()
    assert ddpm_lightning.load(folder / "checkpoints" / "last.ckpt").card is None


def test_a_checkpoint_of_an_earlier_version_is_loaded(drawn: Callable) -> None:
    assert np.array_equal(ddpm_lightning.load(VERSION_1).sample(8).numpy(), drawn(VERSION_1))


def test_neither_hydra_nor_lightning_is_imported(tmp_path: Path) -> None:
    exported = tmp_path / "exported"
    write_exported(read_trained(VERSION_1), exported)
    program = f"""
import sys
import ddpm_lightning
assert "torch" not in sys.modules
ddpm_lightning.load({str(VERSION_1)!r}).sample(2)
ddpm_lightning.load({str(exported)!r}).sample(2)
print(sorted({{"hydra", "lightning", "omegaconf", "matplotlib", "pandas", "diffusers"}} & set(sys.modules)))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_loading_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    ddpm_lightning.load(VERSION_1)
    assert torch.equal(torch.rand(1), expected)


def test_every_name_that_is_exported_exists_and_is_documented() -> None:
    for name in ddpm_lightning.__all__:
        assert getattr(ddpm_lightning, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ddpm_lightning.nothing


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "os.system", "command": "true"}, r"names os\.system, which no run of ddpm-lightning needs"),
        ({"_target_": "theirs.Grid"}, r"names theirs\.Grid, .* say so with trust=theirs"),
        ({"_target_": "ddpm_lightning.samplers.ddim.Nothing"}, "which no run of ddpm-lightning needs"),
    ],
)
def test_a_class_of_another_package_is_refused(node: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        instantiate({"_target_": "ddpm_lightning.samplers.ddim.DDIM", "grid": node})


def test_a_trusted_package_is_used() -> None:
    assert instantiate({"_target_": "pathlib.PurePosixPath"}, trust=("pathlib",)) is not None
    with pytest.raises(ValueError, match="does not exist here"):
        instantiate({"_target_": "pathlib.Nothing"}, trust=("pathlib",))
