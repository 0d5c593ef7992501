"""A callback that notes how far a run is, so that it can be killed at a chosen moment."""

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer

VARIABLE = "CHAOS_BEATS"
"""Environment variable that names the file of beats."""


class Beat(NamedTuple):
    """A moment of a run.

    Attributes:
        time: seconds since the epoch.
        event: `step` after an optimizer step, `test` when the scoring begins.
        job: name of the run's folder.
        step: optimizer steps taken.
    """

    time: float
    event: str
    job: str
    step: int


class Beats(Callback):
    """Appends a line to the file of beats at each `Beat`; first in the list, so before a checkpoint is written."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        _note("step", trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _note("test", trainer)


def _note(event: str, trainer: Trainer) -> None:
    with open(os.environ[VARIABLE], "a") as file:
        file.write(f"{time.time()} {event} {Path(trainer.default_root_dir).name} {trainer.global_step}\n")


def read_beats(file: Path) -> list[Beat]:
    """All beats noted so far."""
    if not file.is_file():
        return []
    lines = [line.split() for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [Beat(float(seconds), event, job, int(step)) for seconds, event, job, step in lines]
