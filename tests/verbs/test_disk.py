"""Disks that are full or read-only, and clocks that are set back: a sentence, and the state of the run is kept."""

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.system_errors import explain_system_error
from ddpm_lightning.training.checkpoint import read_checkpoint
from ddpm_lightning.verbs.train import train

WORDS = ("callbacks=minimal", "logger=none", "callbacks.checkpointing.every_n_steps=1")


def scores(run: RunFolder) -> dict[str, float]:
    """The final scores, without what the run cost."""
    return {name: value for name, value in run.read_status()["scores"].items() if not name.startswith("cost/")}


def mount(*options: str) -> bool:
    """Whether the system could mount."""
    try:
        return subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)):
        pytest.skip("only root can mount a disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def run_in(compose_verb: Callable, tiny_options: list[str], tiny_environment: None) -> Callable[..., RunFolder]:
    """`run_in(folder, *words)`: the folder of a run of three steps, each of which is saved."""

    def run(folder: Path, *words: str) -> RunFolder:
        train(compose_verb("train", *(words or (*tiny_options, *WORDS)), folder=folder))
        return RunFolder(folder)

    return run


def test_a_run_on_a_full_disk_continues_when_there_is_space(
    disk: Path, tmp_path: Path, run_in: Callable[..., RunFolder]
) -> None:
    whole = run_in(tmp_path / "whole")
    checkpoint = whole.last_checkpoint.stat().st_size
    (disk / "ballast").write_bytes(bytes(2**22 - int(2.7 * checkpoint)))  # the third checkpoint does not fit
    with pytest.raises(OSError, match="No space left") as full:
        run_in(disk / "run")
    assert "no space is left on the disk at " in (explain_system_error(full.value) or "")
    run = RunFolder(disk / "run")
    assert read_checkpoint(run.last_checkpoint)["global_step"] == 2
    assert sorted(path.name for path in run.last_checkpoint.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]

    (disk / "ballast").unlink()
    run_in(disk / "run")
    ours, theirs = (read_checkpoint(folder.last_checkpoint)["state_dict"] for folder in (run, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert scores(run) == scores(whole)


def test_a_run_on_a_read_only_disk_is_read_but_not_continued(
    disk: Path, run_in: Callable[..., RunFolder], compose_verb: Callable
) -> None:
    run = run_in(disk / "run")
    assert mount("-o", "remount,ro", str(disk))
    assert train(compose_verb("train", f"resume={run.path}", folder=run.path)) == run.read_status()["scores"]
    with pytest.raises(OSError, match="Read-only") as refusal:
        run_in(run.path, f"resume={run.path}", "trainer.max_steps=5")
    assert f"nothing can be read or written at {run.path}" in (explain_system_error(refusal.value) or "")


def test_a_clock_that_is_set_back_changes_nothing(
    tmp_path: Path, run_in: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_in(tmp_path / "whole")
    hours, now = itertools.count(), time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now - 3600 * next(hours))
        run = run_in(tmp_path / "run")
    assert scores(run) == scores(whole)
    assert 0 < run.read_status()["seconds"] < 3600
