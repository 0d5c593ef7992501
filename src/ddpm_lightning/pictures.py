"""Images as grids, PNG files and animations."""

import math
from collections.abc import Iterable
from pathlib import Path

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from ddpm_lightning.atomic_files import atomic_path
from ddpm_lightning.temporary_folder import temporary_folder

_FRAME_MILLISECONDS = 120
_GREY = 128  # between images


def image_grid(images: Tensor, columns: int | None = None) -> Tensor:
    """A grid of images, (N, C, H, W), uint8, to (3, H', W'), uint8.

    Images below 64 pixels are enlarged by an integer factor. The grid is about square unless `columns` is given.
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    factor = max(1, 64 // images.shape[-1])
    enlarged = images.cpu().repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    return make_grid(enlarged, nrow=columns, padding=factor, pad_value=_GREY)


def grid_by_class(samples: Tensor, num_classes: int | None) -> Tensor:
    """A grid with a row for each class, if sample i is of class i % num_classes; (N, C, H, W), uint8, to (3, H', W').

    A plain grid without classes, or with fewer than three samples of each.
    """
    if num_classes is None or len(samples) < 3 * num_classes:
        return image_grid(samples)
    missing = samples.new_full((-len(samples) % num_classes, *samples.shape[1:]), _GREY)
    by_class = rearrange(torch.cat([samples, missing]), "(n k) c h w -> (k n) c h w", k=num_classes)
    return image_grid(by_class, len(by_class) // num_classes)


def save_picture(picture: Tensor, path: Path) -> None:
    """Writes a picture, (3, H, W) or grey (1, H, W), uint8, as a PNG, atomically."""
    with atomic_path(path) as temporary:
        as_pil(picture).save(temporary)


def save_pictures(pictures: Iterable[Tensor], folder: Path) -> None:
    """Writes pictures, as `save_picture`, to `folder/000000.png` and so on, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder) as temporary:  # one for all, since each costs a search of its place
        for index, picture in enumerate(pictures):
            written = temporary / f"{index:06d}.png"
            as_pil(picture).save(written)
            written.replace(folder / written.name)


def save_animation(pictures: Iterable[Tensor], path: Path) -> None:
    """Writes pictures, at least one, each (3, H, W), uint8, as a GIF that pauses on its last frame, atomically."""
    frames = [as_pil(picture) for picture in pictures]
    durations = [_FRAME_MILLISECONDS] * (len(frames) - 1) + [10 * _FRAME_MILLISECONDS]
    with atomic_path(path) as temporary:
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def as_pil(picture: Tensor) -> Image.Image:
    """The picture, (3, H, W) or grey (1, H, W), uint8, as an image of Pillow, which notebooks show."""
    return Image.fromarray(picture.permute(1, 2, 0).squeeze(-1).contiguous().numpy())
