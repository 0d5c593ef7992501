"""Callback by which a run that is killed and continued logs everything exactly once."""

import os
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from lightning.fabric.utilities.apply_func import convert_tensors_to_scalars
from lightning.pytorch import Callback, LightningModule, Trainer

LOGS_KEY = "ddpm_lightning_logs"
"""Key of this callback's entry in a checkpoint; earlier versions have none."""


@runtime_checkable
class ReturningLogger(Protocol):
    """A logger with files that can be cut back to an earlier moment."""

    @property
    def log_dir(self) -> str | None:
        """The folder of its files, below that of the run."""

    def position(self) -> dict[str, int]:
        """How much it has logged; writes everything first. Called on the first rank alone, as `return_to`."""

    def return_to(self, position: Mapping[str, int]) -> None:
        """Removes what was logged after this position; an empty one removes everything.

        Called once, before anything is logged in this process.
        """


class LoggedOnce(Callback):
    """Stores in each checkpoint how much is logged, and cuts the logs back to it when a run continues from there.

    What a killed run logged after its last checkpoint is logged again by the run that continues, since it computes the
    same again. A run that begins anew removes what an earlier attempt without a checkpoint has logged.

    Lightning logs a step after the hooks in which checkpoints are written, so a checkpoint also holds the values of
    its own step, and a run that continues logs them first.
    """

    def __init__(self) -> None:
        self._positions: dict[str, dict[str, int]] = {}  # also of loggers that this start does without
        self._unlogged: dict[str, Any] = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.is_global_zero:
            self._positions |= {name: logger.position() for name, logger in _returning_loggers(trainer).items()}
        checkpoint[LOGS_KEY] = {"positions": dict(self._positions), "unlogged": _unlogged(trainer)}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if LOGS_KEY in checkpoint:
            self._positions = checkpoint[LOGS_KEY]["positions"]
            self._unlogged = checkpoint[LOGS_KEY]["unlogged"]
            self._return_all(trainer)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.ckpt_path is None:
            self._return_all(trainer)
        if self._unlogged:
            trainer._logger_connector.log_metrics(self._unlogged["values"], self._unlogged["step"])

    def _return_all(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            for name, logger in _returning_loggers(trainer).items():
                logger.return_to(self._positions.get(name, {}))


def _returning_loggers(trainer: Trainer) -> dict[str, ReturningLogger]:
    """The loggers that can be cut back, by their folders within the run's."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, ReturningLogger)]
    return {os.path.relpath(str(logger.log_dir), trainer.default_root_dir): logger for logger in loggers}


def _unlogged(trainer: Trainer) -> dict[str, Any]:
    """The values that Lightning will log once the hooks of this training step are through, and their step."""
    loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
    progress: Any = loop.batch_progress.current
    if progress.processed == progress.completed or not connector.should_update_logs:
        return {}
    values = convert_tensors_to_scalars(connector.metrics["log"])
    # As `log_metrics` would.
    return {"values": {**values, "epoch": trainer.current_epoch}, "step": loop._batches_that_stepped}
