"""Images of any size for a network that halves them several times."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def check_size(image_shape: Sequence[int], halvings: int) -> None:
    """Raises ValueError if images of `image_shape` (C, H, W) are smaller than one cell of the coarsest level."""
    smallest = 2**halvings
    if min(image_shape[1:]) < smallest:
        raise ValueError(
            f"images of {image_shape[1]}x{image_shape[2]} are too small for a network that halves them {halvings} "
            f"times: use images of at least {smallest} pixels a side, or fewer model.channels"
        )


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """x, (B, C, H, W), padded with zeros below and to the right so that `multiple` divides H and W."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple))
