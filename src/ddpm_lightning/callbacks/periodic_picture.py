"""Base class of pictures drawn after validation, and a function that shows pictures in TensorBoard."""

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from ddpm_lightning.pictures import save_picture
from ddpm_lightning.training.module import DiffusionModule


@dataclass(eq=False)
class PeriodicPicture(Callback):
    """Publishes a picture after the validations of every n-th epoch, as a file and in TensorBoard.

    Args:
        every_n_epochs: n, at least 1.

    Raises:
        ValueError: `every_n_epochs` is below 1.
    """

    name: ClassVar[str]
    """Name of the picture's folder, and its TensorBoard tag."""

    every_n_epochs: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        if self.every_n_epochs < 1:
            raise ValueError(f"every_n_epochs of a picture must be at least 1, not {self.every_n_epochs}")

    @abstractmethod
    def draw(self, trainer: Trainer, module: DiffusionModule) -> Tensor:
        """The picture, (3, H, W), uint8. Called on every rank, because drawing samples may use them all."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Raises ValueError for a module that draws nothing."""
        if not isinstance(pl_module, DiffusionModule):
            raise ValueError(
                f"callbacks: {type(self).__name__} shows a denoiser, and this model is not one: leave it out"
            )

    @torch.no_grad()
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DiffusionModule)
        if trainer.sanity_checking or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        with trainer.precision_plugin.forward_context():
            picture = self.draw(trainer, pl_module)
        if trainer.is_global_zero:
            file = f"step-{trainer.global_step:07d}.png"
            save_picture(picture, Path(trainer.default_root_dir) / "pictures" / self.name / file)
            show_picture(trainer, self.name, picture)


def show_picture(trainer: Trainer, tag: str, picture: Tensor) -> None:
    """Sends a picture (3, H, W), uint8, to every TensorBoard logger."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, picture, trainer.global_step)
