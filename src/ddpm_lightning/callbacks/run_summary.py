"""The end of a run: its scores, and where to look."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning_utilities.core.rank_zero import rank_zero_only
from rich.console import Console
from rich.table import Table

from ddpm_lightning.training.module import DiffusionModule


class RunSummary(Callback):
    """Prints a table of the final values, and the line that says what to open; fills TensorBoard's HParams tab.

    List it after the progress bar, which writes its last line when it is torn down.
    """

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DiffusionModule)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(_choices(pl_module.run_config), _final_values(trainer))

    @rank_zero_only
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "test":
            return
        table = Table(title="Final scores")
        table.add_column("score")
        table.add_column("value", justify="right")
        for name, value in _final_values(trainer).items():
            if "/log_snr_" not in name:
                table.add_row(name, f"{value:.4f}")
        folder = os.path.relpath(Path(trainer.default_root_dir))
        console = Console()
        console.print(table)
        console.print(f"Open {folder}/samples.png, or: tensorboard --logdir {folder}", soft_wrap=True, highlight=False)


def _final_values(trainer: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}


def _choices(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that says what was computed, not where or how it was shown."""
    return {key: value for key, value in config.items() if key not in ("paths", "callbacks", "logger", "resume")}
