"""Base class of pictures drawn after validation."""

from abc import abstractmethod

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ddpm_lightning.callbacks.pictures import publish
from ddpm_lightning.training.module import DiffusionModule


class PeriodicPicture(Callback):
    """Publishes a picture after the validations of every `every_n_epochs`-th epoch, as a file and in TensorBoard."""

    name: str
    """Of the picture's folder and TensorBoard tag."""

    def __init__(self, every_n_epochs: int = 1) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs of a picture must be at least 1, not {every_n_epochs}")
        self.every_n_epochs = every_n_epochs

    @abstractmethod
    def draw(self, trainer: Trainer, module: DiffusionModule) -> Tensor:
        """The picture, (3, H, W), uint8. Called on every rank, because drawing samples may use them all."""

    @torch.no_grad()
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DiffusionModule)
        if trainer.sanity_checking or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        with trainer.precision_plugin.forward_context():
            picture = self.draw(trainer, pl_module)
        if trainer.is_global_zero:
            publish(trainer, self.name, picture)
