"""Pictures in the run's folder and in TensorBoard."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from ddpm_lightning.samplers.picture import save_picture


def show_picture(trainer: Trainer, tag: str, picture: Tensor) -> None:
    """Sends a picture (3, H, W), uint8, to every TensorBoard logger."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, picture, trainer.global_step)


def publish(trainer: Trainer, name: str, picture: Tensor) -> None:
    """Writes `<run folder>/pictures/<name>/step-<step>.png` and shows the picture in TensorBoard."""
    save_picture(picture, Path(trainer.default_root_dir) / "pictures" / name / f"step-{trainer.global_step:07d}.png")
    show_picture(trainer, name, picture)
