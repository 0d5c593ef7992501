"""A batch, as the loaders yield it."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Images with their labels and slots.

    Attributes:
        images: uint8 (B, C, H, W).
        labels: int64 (B,).
        slots: int64 (B,), the key of each image's random draws: its position in the global batch when training, in
            the whole pass otherwise.
    """

    images: Tensor
    labels: Tensor
    slots: Tensor
