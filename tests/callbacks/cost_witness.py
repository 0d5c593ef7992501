"""Callback that writes the costs that its rank has logged."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from ddpm_lightning.atomic_files import write_json
from ddpm_lightning.callbacks.cost import logged_costs


class CostWitness(Callback):
    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        write_json(self.folder / f"rank-{trainer.global_rank}.json", logged_costs(trainer))
