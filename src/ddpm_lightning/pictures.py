"""Images as grids, PNG files and animations."""

import math
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from ddpm_lightning.atomic_files import atomic_path


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
    """Writes a picture (3, H, W), or a grey one (1, H, W), uint8, as a PNG, atomically."""
    with atomic_path(path) as temporary:
        _to_pil(picture).save(temporary)


def save_animation(pictures: Iterable[Tensor], path: Path, milliseconds: int = 120) -> None:
    """Writes pictures (3, H, W), uint8, as a GIF that dwells on its last frame, atomically."""
    frames = [_to_pil(picture) for picture in pictures]
    durations = [milliseconds] * (len(frames) - 1) + [10 * milliseconds]
    with atomic_path(path) as temporary:
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def _to_pil(picture: Tensor) -> Image.Image:
    return Image.fromarray(picture.permute(1, 2, 0).squeeze(-1).contiguous().numpy())
