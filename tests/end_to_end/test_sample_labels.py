"""sample.py on a model that knows classes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm_lightning.networks.unet import UNet
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.verbs.sample import sample
from ddpm_lightning.verbs.train import train


@pytest.fixture
def trained(compose_verb: Callable, tiny_options: list[str], tmp_path: Path) -> Path:
    """A run of a model that knows ten classes and draws a clearly different image for each."""
    options = ["model.num_classes=10", "optimizer.lr=0.05", "optimizer.warmup_steps=0", "trainer.max_steps=5"]
    train(compose_verb("train", *tiny_options, *options, "ema=none", "callbacks=minimal", "logger=none"))
    return tmp_path / "run"


@pytest.fixture
def labels_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The labels that networks are given, one of each image at each step."""
    seen: list[int] = []
    forward = UNet.forward

    def spied(self: UNet, x: torch.Tensor, noise_level: torch.Tensor, label: torch.Tensor | None = None):
        seen.extend(label.tolist())
        return forward(self, x, noise_level, label)

    monkeypatch.setattr(UNet, "forward", spied)
    return seen


@pytest.fixture
def drawn(compose_verb: Callable, tiny_paths: list[str], trained: Path, tmp_path: Path) -> Callable[..., np.ndarray]:
    """`drawn(*overrides)`: the images that sample.py draws in one step."""

    def run(*overrides: str) -> np.ndarray:
        options = [*tiny_paths, "trainer.accelerator=cpu", f"checkpoint={trained}", "format=npz", "sampler.steps=1"]
        folder = tmp_path / "-".join(["samples", *overrides])
        with np.load(sample(compose_verb("sample", *options, *overrides, folder=folder)) / "samples.npz") as file:
            if "num=12" in overrides:
                assert file["labels"].tolist() == ([7] * 12 if "label=7" in overrides else [i % 10 for i in range(12)])
            return file["images"]

    return run


def test_the_class_that_was_asked_for_is_drawn_and_no_other(drawn, labels_seen, tmp_path):
    seven = drawn("num=12", "label=7", "chunk_size=5")
    assert labels_seen == [7] * 12
    labels_seen.clear()
    in_turn = drawn("num=12")
    assert labels_seen == [i % 10 for i in range(12)]
    same = [i for i in range(12) if abs(seven[i].astype(int) - in_turn[i]).max() <= 1]
    assert same == [7]
    assert RunFolder(tmp_path / "samples-num=12-label=7-chunk_size=5").read_config()["sample"]["label"] == 7


def test_guided_samples_ask_with_the_label_and_without(drawn, labels_seen):
    drawn("num=3", "label=4", "guidance=classifier_free")
    assert labels_seen == [4] * 3 + [10] * 3


@pytest.mark.parametrize("label", [-1, 10])
def test_an_unknown_class_is_refused_with_those_there_are(drawn, label, tmp_path):
    with pytest.raises(ValueError, match=rf"label={label} does not exist: this model has the classes 0 to 9"):
        drawn(f"label={label}")
    assert not list(tmp_path.glob("samples-*/*.png"))
