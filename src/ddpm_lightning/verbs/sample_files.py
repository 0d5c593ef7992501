"""The files that the sample verb writes."""

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ddpm_lightning.atomic_files import write_arrays, write_json
from ddpm_lightning.pictures import grid_by_class, save_animation, save_picture, save_pictures
from ddpm_lightning.process_pictures.process_picture import Drawn

SHOWN = 64
"""Images in the grid and the animation, at most."""


def write_samples(images: Tensor, labels: Tensor | None, row_classes: int | None, folder: Path, how: str) -> None:
    """Writes `samples.png` and, with the formats "npz" and "folder", all images.

    images: (N, C, H, W), uint8; labels: (N,), int64; row_classes: number of classes, if each is to have a row.
    """
    save_picture(grid_by_class(images[:SHOWN], row_classes), folder / "samples.png")
    if how == "npz":
        arrays = {"images": images} if labels is None else {"images": images, "labels": labels.cpu()}
        write_arrays(folder / "samples.npz", **{name: array.numpy() for name, array in arrays.items()})
    elif how == "folder":
        save_pictures(images, folder / "samples")


def write_animation(frames: Iterable[Tensor], row_classes: int | None, folder: Path) -> None:
    """Writes `trajectory.gif`. frames: each (N, C, H, W), uint8."""
    save_animation((grid_by_class(frame, row_classes) for frame in frames), folder / "trajectory.gif")


def write_picture(name: str, drawn: Drawn, folder: Path) -> None:
    """Writes a picture as a PNG and for TensorBoard, and what was measured for it as JSON."""
    save_picture(drawn.picture, folder / f"{name}.png")
    if drawn.numbers:
        write_json(folder / f"{name}.json", drawn.numbers)
    with SummaryWriter(str(folder)) as writer:
        writer.add_image(name, drawn.picture)
        for number, value in drawn.numbers.items():
            writer.add_scalar(f"{name}/{number}", value)
