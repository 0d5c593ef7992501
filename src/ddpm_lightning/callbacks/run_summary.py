"""Callback that prints a run's final scores and files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning_utilities.core.rank_zero import rank_zero_only
from rich.console import Console
from rich.table import Table as RichTable

from ddpm_lightning.callbacks.cost import PREFIX, describe_costs, logged_costs
from ddpm_lightning.runs.options import IDENTITY, role_of
from ddpm_lightning.runs.plain_config import leaves
from ddpm_lightning.runs.run_folder import shown_path
from ddpm_lightning.training.training_module import TrainingModule

DETAILS = ("/log_snr_", "_subsets_")
"""Parts of the names of values that only files and TensorBoard show."""


class RunSummary(Callback):
    """Prints a table of the final scores, a line of costs, and what to open; fills TensorBoard's HParams tab.

    That tab shows the choices of groups, the options, and the values of `metrics.json` by the names they have there
    (costs under `cost/`). List this callback after the one that writes that file.
    """

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(
                    choices_and_options(pl_module.run_config), _final_values(trainer), trainer.global_step
                )

    @rank_zero_only
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "test":
            return
        table = RichTable(title="Final scores", caption="lower is better, except for precision, recall and accuracy")
        table.add_column("score")
        table.add_column("value", justify="right")
        for name, value in trainer.callback_metrics.items():
            if name.startswith("test/") and not any(detail in name for detail in DETAILS):
                table.add_row(name, f"{float(value):.4f}")
        folder = shown_path(Path(trainer.default_root_dir))
        console = Console()
        console.print(table)
        costs = describe_costs(logged_costs(trainer))
        if costs:
            console.print(costs, soft_wrap=True, highlight=False)
        samples = "/samples.png" if (Path(trainer.default_root_dir) / "samples.png").is_file() else ""
        logged = any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers)
        curves = f", or: tensorboard --logdir {folder}" if logged else ""
        console.print(f"Open {folder}{samples}{curves}", soft_wrap=True, highlight=False)


def _final_values(trainer: Trainer) -> dict[str, float]:
    """The values of `metrics.json`; what the test logged where no samples were scored."""
    scored = Path(trainer.default_root_dir) / "metrics.json"
    if scored.is_file():
        report = json.loads(scored.read_text())
        costs = {PREFIX + name: cost for name, cost in report["cost"].items()}
        return {**report["values"], **report["diagnostics"], **costs}
    logged = trainer.callback_metrics.items()
    return {name: float(value) for name, value in logged if name.startswith(("test/", PREFIX))}


def choices_and_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's config that says what was computed, as one level of names.

    Groups by their choice ("schedule" -> "cosine"), where the config has a section `hydra` with the `choices`, and
    options by their path ("sampler/steps" -> 25). `_target_`s are left out: the group's choice already names them.
    """
    options = {option.replace(".", "/"): value for option, value in leaves(config) if _is_shown(option)}
    choices = config.get("hydra", {}).get("choices", {})
    return options | {group: choice for group, choice in choices.items() if choice and role_of(group) in IDENTITY}


def _is_shown(option: str) -> bool:
    last = option.rpartition(".")[2]
    return role_of(option) in IDENTITY and not last.startswith("_") and last != "cache_dir"
