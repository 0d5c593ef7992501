"""Resizing uint8 arrays, once, before they are cached."""

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize

RESIZED = "resized, bilinear and antialiased, in float32"
"""Human-readable description of `resize_images`."""


LARGEST_SIZE = 8192
"""Pixels: far more than a network here is trained on, so that a digit too many does not fill the disk."""


def check_image_size(image_size: int) -> None:
    """Raises ValueError if image_size is not from 1 to `LARGEST_SIZE`."""
    if image_size < 1:
        raise ValueError(f"dataset.image_size must be at least 1, not {image_size}")
    if image_size > LARGEST_SIZE:
        raise ValueError(f"dataset.image_size must be at most {LARGEST_SIZE}, not {image_size}")


def resize_images(images: np.ndarray, size: int) -> np.ndarray:
    """Antialiased bilinear resize.

    Computed in float32 and rounded once: torchvision's uint8 kernel gives other values on CPUs without AVX2.

    Args:
        images: uint8 (N, C, H, W).
        size: height and width wanted.

    Returns:
        uint8 (N, C, size, size); `images` itself if it already has that size.
    """
    if images.shape[-2:] == (size, size):
        return images
    floats = torch.from_numpy(images.astype(np.float32))
    resized = resize(floats, [size, size], InterpolationMode.BILINEAR, antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8).numpy()
