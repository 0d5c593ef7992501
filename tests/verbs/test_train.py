"""What becomes of a run that is told to go on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.checkpoint import read_checkpoint
from ddpm_lightning.verbs.train import train


@pytest.fixture
def done(compose_verb: Callable, tiny_options: list[str], tmp_path: Path) -> RunFolder:
    """A run that is done after 3 steps."""
    train(compose_verb("train", *tiny_options, "callbacks=minimal", "logger=none"))
    return RunFolder(tmp_path / "run")


def test_a_run_that_is_done_has_its_scores_at_hand(
    done: RunFolder, compose_verb: Callable, tiny_options: list[str]
) -> None:
    before = done.status_file.stat().st_mtime_ns
    scores = train(compose_verb("train", *tiny_options, "callbacks=minimal", "logger=none"))
    assert scores == done.read_status()["scores"]
    assert scores["test/loss"] > 0
    assert done.status_file.stat().st_mtime_ns == before


def test_a_run_that_is_done_can_train_longer(done: RunFolder, compose_verb: Callable) -> None:
    train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=5"))
    assert read_checkpoint(done.last_checkpoint)["global_step"] == 5
    assert done.read_config()["trainer"]["max_steps"] == 5
    status = done.read_status()
    assert (status["state"], status["resumed"]) == ("done", True)


def test_a_refused_command_leaves_the_run_as_it_was(done: RunFolder, compose_verb: Callable) -> None:
    before = done.config_file.read_bytes()
    with pytest.raises(ValueError, match="num_nodes=2"):
        train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=5", "trainer.num_nodes=2"))
    assert done.config_file.read_bytes() == before
    train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=5"))
    assert read_checkpoint(done.last_checkpoint)["global_step"] == 5
