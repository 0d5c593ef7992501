"""What ends a training: the limits that a user sets, and never fewer steps than it has had."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from ddpm_lightning.runs.config import RunConfig
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.checkpoint import read_checkpoint
from ddpm_lightning.verbs.train import train

MINIMAL = ["callbacks=minimal", "logger=none"]


def limits(config: RunConfig) -> tuple[int, int]:
    return config.stored["trainer"]["max_steps"], config.stored["trainer"]["max_epochs"]


class TestOfANewRun:
    @pytest.mark.parametrize(
        ("overrides", "expected"),
        [
            ([], (3200, -1)),
            (["trainer.max_epochs=50"], (-1, 50)),
            (["trainer.max_epochs=5e1"], (-1, 50)),
            (["trainer.max_epochs=50", "trainer.max_steps=3200"], (3200, 50)),
            (["trainer.max_epochs=50", "trainer.max_steps=100"], (100, 50)),
            (["trainer.max_epochs=-1"], (3200, -1)),
            (["trainer.max_epochs=null"], (3200, None)),
            (["experiment=flowers_ddim"], (-1, 250)),
            (["experiment=flowers_ddim", "trainer.max_steps=9"], (9, 250)),
            (["experiment=flowers_64", "trainer.max_epochs=2"], (3600, 2)),
        ],
        ids=str,
    )
    def test_a_limit_that_is_set_replaces_the_default(
        self, compose_verb: Callable, overrides: list[str], expected: tuple
    ) -> None:
        assert limits(RunConfig.of_command(compose_verb("train", *overrides))) == expected

    def test_a_recipe_of_ones_own_replaces_it_as_well(self, shell_here: Callable, tmp_path: Path) -> None:
        for group in ("experiment", "trainer"):
            (tmp_path / group).mkdir()
        (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ntrainer:\n  max_epochs: 1\n")
        (tmp_path / "trainer" / "mine.yaml").write_text("defaults:\n  - default\nmax_epochs: 1\n")
        for choice in ("experiment=mine", "trainer=mine"):
            words = [choice, f"paths.output_dir={tmp_path}", f"paths.data_dir={tmp_path}", "dataset=gradients"]
            result = shell_here(
                "train.py", "--config-dir", str(tmp_path), *words, "name=run", "metrics.kid_subset_size=0"
            )
            assert "trainer.max_epochs=1 is set, so the default trainer.max_steps=3200 does not" in result.stdout

    def test_the_log_says_which_limits_hold(self, compose_verb: Callable, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        RunConfig.of_command(compose_verb("train", "trainer.max_epochs=50"))
        assert "the default trainer.max_steps=3200 does not apply" in caplog.text
        caplog.clear()
        RunConfig.of_command(compose_verb("train"))
        assert caplog.text == ""
        RunConfig.of_command(compose_verb("train", "trainer.max_epochs=50", "trainer.max_steps=100"))
        assert "ends at trainer.max_steps=100 or trainer.max_epochs=50, whichever is reached first" in caplog.text

    def test_a_training_without_an_end_is_refused(self, compose_verb: Callable) -> None:
        with pytest.raises(ValueError, match="training needs an end"):
            RunConfig.of_command(compose_verb("train", "trainer.max_steps=-1"))

    def test_the_same_command_is_the_same_run(self, compose_verb: Callable, tmp_path: Path) -> None:
        stored = RunConfig.of_command(compose_verb("train", "trainer.max_epochs=50")).stored
        folder = RunFolder(tmp_path)
        folder.write_config(stored)
        folder.write_status("done", scores={})
        folder.check(RunConfig.of_command(compose_verb("train", "trainer.max_epochs=50")))
        with pytest.raises(FileExistsError, match=r"trainer\.max_steps"):
            folder.check(RunConfig.of_command(compose_verb("train", "trainer.max_epochs=50", "trainer.max_steps=9")))


class TestOfAResumedRun:
    @pytest.fixture
    def done(
        self, compose_verb: Callable, tiny_options: list[str], tiny_environment: None, tmp_path: Path
    ) -> RunFolder:
        """A run that is done after 3 of the 10 steps of an epoch."""
        train(compose_verb("train", *tiny_options, *MINIMAL))
        return RunFolder(tmp_path / "run")

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (
                ["trainer.max_steps=2"],
                "trained 3 steps, and cannot be shortened to trainer.max_steps=2: set at least 3",
            ),
            (["trainer.max_steps=0"], "cannot be shortened to trainer.max_steps=0"),
            (["trainer.max_epochs=0"], "trained 1 epochs, and cannot be shortened to trainer.max_epochs=0"),
            (["trainer.max_epochs=2", "trainer.max_steps=2"], "cannot be shortened to trainer.max_steps=2"),
            (["trainer.max_steps=-1"], "training needs an end"),
            (["trainer.max_steps=ten"], "trainer.max_steps must be a whole number"),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("state", ["done", "interrupted"])
    def test_a_shorter_length_changes_nothing(
        self, done: RunFolder, compose_verb: Callable, words: list[str], message: str, state: str
    ) -> None:
        done.write_status(state, scores={"test/loss": 1.0})
        before = {path: path.read_bytes() for path in (done.config_file, done.status_file, done.last_checkpoint)}
        with pytest.raises(ValueError) as refusal:  # noqa: PT011
            train(compose_verb("train", f"resume={done.path}", *words))
        assert message in str(refusal.value)
        assert {path: path.read_bytes() for path in before} == before

    def test_a_new_limit_replaces_the_old_one(self, done: RunFolder, compose_verb: Callable) -> None:
        train(compose_verb("train", f"resume={done.path}", "trainer.max_epochs=1"))
        assert read_checkpoint(done.last_checkpoint)["global_step"] == 10
        config = done.read_config()
        assert (config["trainer"]["max_steps"], config["trainer"]["max_epochs"]) == (-1, 1)
        assert config["hydra"]["options"]["trainer.max_steps"] == "-1", "what a report reads"
        with pytest.raises(ValueError, match="has trained 10 steps"):
            train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=9"))
        assert done.read_config() == config
        assert done.read_status()["state"] == "done"
        train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=12"))
        assert read_checkpoint(done.last_checkpoint)["global_step"] == 12

    def test_a_run_that_kept_no_checkpoint_stays_as_it_is(self, done: RunFolder, compose_verb: Callable) -> None:
        done.last_checkpoint.unlink()
        before = done.config_file.read_bytes()
        with pytest.raises(ValueError, match="is done and kept no checkpoint, so it cannot train longer"):
            train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=5"))
        assert done.config_file.read_bytes() == before
