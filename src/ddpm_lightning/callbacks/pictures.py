"""Grids of uint8 images, as files and in TensorBoard."""

import math
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torchvision.io import write_png
from torchvision.utils import make_grid

from ddpm_lightning.atomic import atomic_path


def image_grid(images: Tensor, columns: int | None = None) -> Tensor:
    """Images (N, C, H, W), uint8, side by side: (3, H', W'), uint8.

    Small images are enlarged by whole factors, so that one of 28 pixels can be looked at. The grid is about square
    unless `columns` is given.
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    factor = max(1, 64 // images.shape[-1])
    enlarged = images.cpu().repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    return make_grid(enlarged, nrow=columns, padding=factor, pad_value=128)


def save_picture(picture: Tensor, path: Path) -> None:
    """Writes a picture (3, H, W), uint8, as a PNG, atomically."""
    with atomic_path(path) as temporary:
        write_png(picture, str(temporary))


def show_picture(trainer: Trainer, tag: str, picture: Tensor) -> None:
    """Sends a picture (3, H, W), uint8, to every TensorBoard logger."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, picture, trainer.global_step)


def publish(trainer: Trainer, name: str, picture: Tensor) -> None:
    """Writes `<run folder>/pictures/<name>/step-<step>.png` and shows the picture in TensorBoard."""
    save_picture(picture, Path(trainer.default_root_dir) / "pictures" / name / f"step-{trainer.global_step:07d}.png")
    show_picture(trainer, name, picture)


