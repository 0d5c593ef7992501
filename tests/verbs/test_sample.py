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


def test_every_file_is_named_at_the_end(
    run: Path, compose_verb: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["trainer.accelerator=cpu", f"checkpoint={run}", "num=2", "sampler.steps=1", "trajectory=true"]
    folder = sample(compose_verb("sample", *words, "format=folder", folder=tmp_path / "drawn"))
    last = capsys.readouterr().out.splitlines()[-1]
    written = {path.name for path in folder.iterdir()} - {"status", ".lock"}
    assert written == {"samples.png", "samples", "trajectory.gif", "config.yaml"}
    assert all(name in last for name in written)
    config = RunFolder(folder).read_config()
    assert config["checkpoint"]["path"].startswith(str(run))
    assert config["sampler"]["steps"] == 1
    assert config["sample"] == {
        "num": 2, "seed": 0, "label": None, "chunk_size": 250, "format": "folder", "trajectory": True,
    }  # fmt: skip


@pytest.mark.parametrize("error", [RuntimeError("no memory"), KeyboardInterrupt()])
def test_nothing_is_left_where_drawing_fails(
    run: Path, compose_verb: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("ddpm_lightning.verbs.sample.draw_images", fail)
    words = ["trainer.accelerator=cpu", f"checkpoint={run}"]
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "sample.log").touch()
    command = compose_verb("sample", *words, folder=tmp_path / "drawn")
    with pytest.raises(type(error)):
        sample(command)
    assert not (tmp_path / "drawn").exists()


def test_a_failure_leaves_files_that_were_there(
    run: Path, compose_verb: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddpm_lightning.verbs.sample.draw_images", lambda *_: 1 / 0)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").touch()
    command = compose_verb("sample", "trainer.accelerator=cpu", f"checkpoint={run}", folder=tmp_path / "photos")
    with pytest.raises(ZeroDivisionError):
        sample(command)
    assert (tmp_path / "photos" / "cat.png").is_file()
