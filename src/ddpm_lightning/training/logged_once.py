"""Callback by which a run that is killed and continued logs everything exactly once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning.fabric.utilities.apply_func import convert_tensors_to_scalars
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

LOGS_KEY = "ddpm_lightning_logs"
"""Key of this callback's entry in a checkpoint; earlier versions have none."""


@runtime_checkable
class RewindableLogger(Protocol):
    """A logger with files that can be cut back to an earlier moment."""

    def position(self) -> dict[str, int]:
        """How much it has logged; writes everything first. Called on the first rank alone, as `rewind`."""

    def rewind(self, position: Mapping[str, int]) -> None:
        """Removes what was logged after this position; an empty one removes everything.

        Called once, before anything is logged in this process.
        """


class LoggedOnce(Callback):
    """Stores in each checkpoint how much is logged, and cuts the logs back to it when a run continues from there.

    What a killed run logged after its last checkpoint is logged again by the run that continues, since it computes the
    same again. A run that restarts removes what an earlier attempt without a checkpoint has logged. Logs that may
    belong to other runs are left alone: those outside its folder, and those that its checkpoint does not know.

    Lightning logs a step after the hooks in which checkpoints are written, so a checkpoint also holds the values of
    its own step, and a run that continues logs them first.
    """

    def __init__(self) -> None:
        self._logs: dict[str, dict[str, Any]] = {}  # by logger, also of those that this start does without

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        unlogged = _unlogged(trainer)
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                position = logger.position() if isinstance(logger, RewindableLogger) else None
                self._logs[_name(logger, trainer)] = {"position": position, "unlogged": unlogged}
        checkpoint[LOGS_KEY] = dict(self._logs)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if LOGS_KEY in checkpoint:
            self._logs = checkpoint[LOGS_KEY]
            self._rewind(trainer)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.ckpt_path is None:
            self._rewind(trainer)

    def _rewind(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        restarts = trainer.ckpt_path is None
        for logger in trainer.loggers:
            log = self._logs.get(_name(logger, trainer), {"position": {}, "unlogged": {}})
            if isinstance(logger, RewindableLogger) and _is_in_run(logger, trainer) and (log["position"] or restarts):
                logger.rewind(log["position"])
            if log["unlogged"]:
                logger.log_metrics(log["unlogged"]["values"], log["unlogged"]["step"])
                logger.save()


def _name(logger: Logger, trainer: Trainer) -> str:
    """The logger's class and its folder within that of the run."""
    folder = os.path.relpath(logger.log_dir, trainer.default_root_dir) if logger.log_dir else ""
    return f"{type(logger).__qualname__} {folder}"


def _is_in_run(logger: Logger, trainer: Trainer) -> bool:
    return bool(logger.log_dir) and Path(str(logger.log_dir)).resolve().is_relative_to(
        Path(trainer.default_root_dir).resolve()
    )


def _unlogged(trainer: Trainer) -> dict[str, Any]:
    """The values that Lightning will log once the hooks of this training step are through, and their step."""
    loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
    progress: Any = loop.batch_progress.current
    if progress.processed == progress.completed or not connector.should_update_logs:
        return {}
    values = convert_tensors_to_scalars(connector.metrics["log"])
    # As `log_metrics` would.
    return {"values": {**values, "epoch": trainer.current_epoch}, "step": loop._batches_that_stepped}
