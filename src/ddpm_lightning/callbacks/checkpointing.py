"""Callback that writes the last and the best checkpoint of a run."""

import logging
import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning_utilities.core.rank_zero import rank_zero_only

from ddpm_lightning.callbacks.stop_signals import STEPS_BETWEEN_AGREEMENTS, StopSignals
from ddpm_lightning.metrics.directions import higher_is_better
from ddpm_lightning.runs.logged_values import check_logged
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.training_module import TrainingModule

log = logging.getLogger(__name__)


class Checkpointing(Callback):
    """Keeps `checkpoints/last.ckpt`, from which a run resumes exactly, the one before it, and `checkpoints/best.ckpt`.

    A checkpoint takes the place of another once it is verified. The one before `last`, `checkpoints/previous.ckpt`, is
    for the case that `last` is damaged later.

    `last` is due every `every_n_steps` optimizer steps and at `max_steps`. It is then written at the first point from
    which Lightning resumes exactly: after a batch that ends an optimizer step, unless the epoch ends or a validation is
    due right after it, or at the end of a validation. (If epochs have one batch and no validation, the only such point
    is the end of the training.) List this callback last: a resumed run does not repeat the work of later callbacks at
    the end of that validation.

    SIGINT, SIGTERM and SIGUSR1 make it due at once: the training ends at that point (see `StopSignals`).

    Args:
        every_n_steps: optimizer steps between checkpoints, at least 1.
        monitor: logged value whose minimum makes a checkpoint the best; of accuracy, precision and recall, the maximum.
            It may be absent at some validations; if no part of the run can ever log it, the first validation raises
            ValueError.

    Raises:
        ValueError: `every_n_steps` is below 1.
        FileNotFoundError: in a training, the run's folder has vanished; its state has been saved.
    """

    def __init__(self, every_n_steps: int = 500, monitor: str = "val/loss") -> None:
        if every_n_steps < 1:
            raise ValueError(f"callbacks.checkpointing.every_n_steps must be at least 1, not {every_n_steps}")
        self.every_n_steps = every_n_steps
        self.monitor = monitor
        self.best_value: float | None = None
        self._saved_step = 0
        self._has_config = False  # a training outside a run's folder has none
        self._signals = StopSignals()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_step = trainer.global_step
        self._has_config = RunFolder(Path(trainer.default_root_dir)).config_file.is_file()
        self._signals.install()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        if accumulating or _epoch_end_or_validation_follows(trainer, batch_idx):
            return
        if self._signals.agreed(trainer, every=STEPS_BETWEEN_AGREEMENTS):
            self._save_and_end(trainer)
        elif self._due(trainer):
            self._save_last(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.fit_loop.epoch_loop.batch_progress.total.ready:
            return
        value = trainer.callback_metrics.get(self.monitor)
        if value is None and self.best_value is None:
            check_logged("callbacks.checkpointing.monitor", self.monitor, trainer, pl_module)
        if value is not None and self._better(float(value)):
            self.best_value = float(value)
            trainer.save_checkpoint(RunFolder(Path(trainer.default_root_dir)).best_checkpoint)
        if self._signals.agreed(trainer):
            self._save_and_end(trainer)
        elif self._due(trainer):
            self._save_last(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._signals.restore()
        if trainer.global_step > self._saved_step:
            self._save_last(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._signals.restore()

    def _save_and_end(self, trainer: Trainer) -> None:
        if trainer.global_step > self._saved_step:
            self._save_last(trainer)
        if trainer.is_global_zero:
            log.info("asked to end: saved step %d", trainer.global_step)
        self._signals.end()

    def _due(self, trainer: Trainer) -> bool:
        step = trainer.global_step
        # A finished run may be resumed with a higher limit. `on_train_end` is too late for that checkpoint: by then
        # Lightning has counted the epoch as complete.
        finishing = self._saved_step < step == trainer.max_steps
        return finishing or step // self.every_n_steps > self._saved_step // self.every_n_steps

    def _better(self, value: float) -> bool:
        if self.best_value is None:
            return not math.isnan(value)  # no value compares as lower than NaN
        score = self.monitor.partition("/")[2]  # val/accuracy
        return value > self.best_value if higher_is_better(score) else value < self.best_value

    def _save_last(self, trainer: Trainer) -> None:
        run = RunFolder(Path(trainer.default_root_dir))
        trainer.save_checkpoint(run.last_checkpoint)
        self._saved_step = trainer.global_step
        if self._has_config and trainer.is_global_zero and not run.config_file.is_file():
            assert isinstance(trainer.lightning_module, TrainingModule)
            run.write_config(trainer.lightning_module.run_config)  # without it, nothing can continue the run
            raise FileNotFoundError(
                f"{run.path} was moved or deleted while the run was training in it. Its state at step "
                f"{self._saved_step} is saved there again, and the same command continues from it"
            )

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["world_size"] = trainer.world_size
        checkpoint["num_threads"] = torch.get_num_threads()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        now = {"world_size": trainer.world_size, "num_threads": torch.get_num_threads()}
        for name, value in now.items():
            if checkpoint[name] != value:
                rank_zero_only(log.warning)(
                    f"the run was made with {name}={checkpoint[name]} and continues with {value}: the training is "
                    "correct, but not bit-identical to an uninterrupted run"
                )

    def state_dict(self) -> dict[str, Any]:
        return {"best_value": self.best_value, "monitor": self.monitor}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict.get("monitor", self.monitor) == self.monitor:  # else it is another value's
            self.best_value = state_dict["best_value"]


def _epoch_end_or_validation_follows(trainer: Trainer, batch_idx: int) -> bool:
    """True if the epoch ends, or a validation is due, right after this batch."""
    if trainer.is_last_batch or batch_idx + 1 == trainer.num_training_batches:
        return True
    every = trainer.val_check_batch if trainer.enable_validation else None
    if every is None or trainer.check_val_every_n_epoch is not None:
        return every is not None and (batch_idx + 1) % every == 0
    return (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % every == 0
