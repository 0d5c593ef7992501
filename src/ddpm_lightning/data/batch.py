"""What a loader yields."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Images with what identifies them.

    Attributes:
        images: uint8 (B, C, H, W).
        labels: int64 (B,).
        slots: int64 (B,), what an image's random draws are keyed by: its position in the global batch when training,
            its place in the whole pass otherwise.
    """

    images: Tensor
    labels: Tensor
    slots: Tensor
