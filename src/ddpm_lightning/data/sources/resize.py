"""Resizing whole uint8 arrays, once, before they are cached."""

import numpy as np

RESIZED = "resized, bilinear and antialiased, in float32"
"""What `resize_images` does, in words."""

_CHUNK = 4096  # images held as float32 at one time


def check_image_size(image_size: int) -> None:
    """Raises ValueError unless a height and width is positive."""
    if image_size < 1:
        raise ValueError(f"dataset.image_size must be at least 1, not {image_size}")


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
    # Imported here, because worker processes that decode files import this module and never need them.
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import resize

    resized = np.empty((*images.shape[:2], size, size), dtype=np.uint8)
    for start in range(0, len(images), _CHUNK):
        chunk = torch.from_numpy(images[start : start + _CHUNK].astype(np.float32))
        chunk = resize(chunk, [size, size], InterpolationMode.BILINEAR, antialias=True)
        resized[start : start + _CHUNK] = chunk.round().clamp(0, 255).to(torch.uint8).numpy()
    return resized
