"""Drawing samples takes a checkpoint and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.checkpoint import IMAGES_KEY, read_checkpoint
from ddpm_lightning.verbs.sample import sample
from ddpm_lightning.verbs.train import train


@pytest.fixture
def run(compose_verb: Callable, tiny_options: list[str], tmp_path: Path) -> Path:
    train(compose_verb("train", *tiny_options, "callbacks=minimal", "logger=none", "trainer.max_steps=1"))
    return tmp_path / "run"


def test_a_checkpoint_says_what_its_images_are(run: Path) -> None:
    images = read_checkpoint(run / "checkpoints" / "last.ckpt")[IMAGES_KEY]
    assert images == {"shape": [1, 28, 28], "num_classes": 10}


def test_no_data_module_is_built(
    run: Path, compose_verb: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageDataModule, "__init__", lambda *_, **__: pytest.fail("a data module was built"))
    command = compose_verb("sample", "trainer.accelerator=cpu", f"checkpoint={run}", "num=2", folder=tmp_path / "drawn")
    assert (sample(command) / "samples.png").is_file()


def test_auto_devices_are_resolved_as_everywhere(run: Path, compose_verb: Callable, tmp_path: Path) -> None:
    words = ["trainer.accelerator=auto", "trainer.devices=auto", "num=2", f"checkpoint={run}"]
    folder = sample(compose_verb("sample", *words, folder=tmp_path / "drawn"))
    stored = RunFolder(folder).read_config()["trainer"]
    assert stored["accelerator"] in ("cpu", "cuda")
    assert isinstance(stored["devices"], int)
