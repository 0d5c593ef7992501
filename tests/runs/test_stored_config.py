"""Runs that an earlier version made, of which each lacks something of the config that there is now."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.stored_config import NEEDED, NEEDED_OF_DATASET, check_stored
from ddpm_lightning.training.checkpoint import CONFIG_KEY, read_checkpoint
from ddpm_lightning.verbs.evaluate import evaluate
from ddpm_lightning.verbs.sample import sample
from ddpm_lightning.verbs.train import train


@pytest.fixture
def done(compose_verb: Callable, tiny_options: list[str], tmp_path: Path) -> RunFolder:
    """A run that is done after 3 steps."""
    train(compose_verb("train", *tiny_options, "callbacks=minimal", "logger=none"))
    return RunFolder(tmp_path / "run")


@pytest.fixture
def verbs(compose_verb: Callable, tiny_paths: list[str], tmp_path: Path, done: RunFolder) -> list[Callable[[], Any]]:
    """What can be done with a run that is there."""
    options = [*tiny_paths, "trainer.accelerator=cpu", f"checkpoint={done.path}"]
    return [
        lambda: evaluate(compose_verb("evaluate", *options, folder=tmp_path / "evaluated")),
        lambda: sample(compose_verb("sample", *options, "num=2", folder=tmp_path / "sampled")),
        lambda: train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=5")),
    ]


def store(run: RunFolder, config: dict[str, Any]) -> None:
    """Puts the config where the run's own is."""
    run.write_config(config)
    torch.save(read_checkpoint(run.last_checkpoint) | {CONFIG_KEY: config}, run.last_checkpoint)


def test_every_verb_says_what_an_earlier_config_lacks(done, verbs):
    config = done.read_config()
    del config["normalizer"], config["dataset"]["split"]
    store(done, config)
    before = done.status_file.read_bytes()
    for verb in verbs:
        with pytest.raises(
            ValueError, match=rf"{done.path}.* earlier version .* has no normalizer, dataset\.split\. Use"
        ):
            verb()
    assert done.status_file.read_bytes() == before


def test_what_is_needed_is_enough(done, verbs):
    config = {key: value for key, value in done.read_config().items() if key in NEEDED}
    config["dataset"] = {key: value for key, value in config["dataset"].items() if key in NEEDED_OF_DATASET}
    store(done, config)
    for verb in verbs:
        verb()
    assert read_checkpoint(done.last_checkpoint)["global_step"] == 5


def test_a_config_without_data_is_refused_as_well():
    with pytest.raises(
        ValueError, match=r"run was made .* has no dataset, normalizer, model\. Use the version that made it"
    ):
        check_stored({key: {} for key in NEEDED if key not in ("dataset", "normalizer", "model")}, "run")
