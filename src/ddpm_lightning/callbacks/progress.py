"""Callback that shows the progress of a run."""

import math
from contextlib import ExitStack
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from ddpm_lightning.callbacks.training_clock import TrainingClock
from ddpm_lightning.console.display import ConsoleDisplay, console_progress
from ddpm_lightning.console.pace import Pace, time_left
from ddpm_lightning.data.batch import Batch
from ddpm_lightning.readable_numbers import significant
from ddpm_lightning.tracking import Advance, advance, work

WARMUP_BATCHES = 1
"""Fewer than for the cost of a run, so that there is a speed to show soon."""


class RunProgress(ProgressBar):
    """Shows on the first rank's console how far the run is, and the work of other callbacks that takes long.

    On a terminal these are bars, elsewhere lines of the log. The training shows the optimizer step and the last step of
    the whole run, the training loss and the images per second of all devices together, and the time left. The speed is
    that since this start of the run, without validations, pictures and scores; the time left includes those.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._console = ExitStack()
        self._pass = ExitStack()
        self._advance: Advance | None = None  # in a training, on the first rank
        self._step = 0
        self._clock = TrainingClock(WARMUP_BATCHES)

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total = trainer.estimated_stepping_batches
        self._step, self._clock = trainer.global_step, TrainingClock(WARMUP_BATCHES)
        self._clock.start(pl_module.device)
        pace = Pace(None if math.isinf(total) else int(total), done=self._step)
        if display := self._opened(trainer):
            self._advance = display.run("training", pace, lambda pace: self._status(trainer, pace))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self._clock.begin_batch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._clock.end_batch(len(batch.images) * trainer.world_size)
        if self._advance is not None:
            self._advance(trainer.global_step - self._step)
            self._step = trainer.global_step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clock.interrupt()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clock.interrupt()
        if not trainer.sanity_checking:
            self._begin_pass("validating", trainer.num_val_batches)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int, *others: int
    ) -> None:
        if not trainer.sanity_checking:
            self._advance_pass(batch_idx, trainer.num_val_batches)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._opened(trainer)
        self._begin_pass("testing", trainer.num_test_batches)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int, *others: int
    ) -> None:
        self._advance_pass(batch_idx, trainer.num_test_batches)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _opened(self, trainer: Trainer) -> ConsoleDisplay | None:
        """The display, from now until `_close`."""
        return self._console.enter_context(console_progress(trainer.is_global_zero)) if self._enabled else None

    def _close(self) -> None:
        self._advance = None
        self._pass.close()
        self._console.close()

    def _begin_pass(self, what: str, batches: list[int | float]) -> None:
        self._pass.enter_context(work(what, int(sum(batches))))

    def _advance_pass(self, batch_idx: int, batches: list[int | float]) -> None:
        advance()
        if batch_idx + 1 == sum(batches):
            self._pass.close()  # here, because other callbacks draw and score at the end of a pass

    def _status(self, trainer: Trainer, pace: Pace) -> str:
        """As in "step 320/3200, loss 0.0312, 412 images/s, 3 min 20 s left"."""
        loss = trainer.callback_metrics.get("train/loss")
        parts = [f"step {pace.done}" + ("" if pace.total is None else f"/{pace.total}")]
        if loss is not None:
            parts.append(f"loss {significant(float(loss))}")
        if speed := self._clock.images_per_second:
            parts.append(f"{speed:.0f} images/s")
        return ", ".join(parts + time_left(pace))
