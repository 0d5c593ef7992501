"""Between uint8 images outside the model and floats inside it."""

import torch
from torch import Tensor

_HALF_RANGE = 127.5  # 0 .. 255 becomes -1 .. 1


class Normalizer:
    """Maps 0..255 to [-1, 1] (Ho et al. 2020, section 3.3) and back; all 256 values survive the round trip."""

    value_range: tuple[float, float] = (-1.0, 1.0)

    def to_model(self, images: Tensor) -> Tensor:
        """uint8 of any shape, 0..255 -> float32 in [-1, 1].

        Raises:
            TypeError: the images are not uint8, so they may be normalised already.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"to_model takes uint8 images, got {images.dtype}: are they normalised already?")
        return images.float() / _HALF_RANGE - 1.0

    def to_uint8(self, images: Tensor) -> Tensor:
        """Float of any shape -> uint8: clamped to [-1, 1], then rounded to the nearest of the 256 values."""
        low, high = self.value_range
        return ((images.float().clamp(low, high) + 1.0) * _HALF_RANGE).round().to(torch.uint8)
