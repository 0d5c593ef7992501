"""Helpers of callbacks that score a run."""

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer

from ddpm_lightning.atomic_files import write_json
from ddpm_lightning.callbacks.cost import logged_costs
from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.metrics.scores import Scores
from ddpm_lightning.training.module import DiffusionModule


def module_and_data(trainer: Trainer, module: LightningModule) -> tuple[DiffusionModule, ImageDataModule]:
    """The module and the data module of a fit or test, by their own types."""
    data = trainer.datamodule  # type: ignore[attr-defined]  # set by fit and test
    assert isinstance(module, DiffusionModule)
    assert isinstance(data, ImageDataModule)
    return module, data


def write_scores(trainer: Trainer, scores: Scores) -> None:
    """Writes `metrics.json` at the end of a test, on the first rank, with everything else that the test logged."""
    if not trainer.is_global_zero:
        return
    own = {f"test/{name}" for name in scores.values}
    diagnostics = {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("test/") and name not in own
    }
    path = Path(trainer.default_root_dir) / "metrics.json"
    write_json(path, {**scores.to_dict(), "diagnostics": diagnostics, "cost": logged_costs(trainer)})
