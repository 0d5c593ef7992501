"""The user's own image and mask, as a model needs them."""

import torch
from torch import Tensor

from ddpm_lightning.data.sources.decode import UnreadableImageError, read_grey, read_square


def read_image(path: str, image_shape: tuple[int, int, int]) -> Tensor:
    """The centre square of an image file in the model's size and colours, (C, H, W), uint8.

    Raises:
        ValueError: the file cannot be read, or the model's images are not square.
    """
    channels, height, width = image_shape
    if height != width:
        raise ValueError(f"the image {path} would be cut to a square, but this model's have {width} x {height} pixels")
    try:
        return torch.from_numpy(read_square(path, channels, height).copy())
    except UnreadableImageError as error:
        raise ValueError(f"the image {path} cannot be read: {error}") from None


def read_mask(path: str, image_shape: tuple[int, int, int]) -> Tensor:
    """Where an image is known, (H, W), bool: where the mask is black, as in diffusers.

    Raises:
        ValueError: the file cannot be read, the mask is not of the size of the model's images, or all of it is known.
    """
    _, height, width = image_shape
    try:
        grey = torch.from_numpy(read_grey(path).copy())
    except UnreadableImageError as error:
        raise ValueError(f"the mask {path} cannot be read: {error}") from None
    if grey.shape != (height, width):
        raise ValueError(
            f"the mask {path} has {grey.shape[1]} x {grey.shape[0]} pixels, and this model's images {width} x "
            f"{height}: draw the mask in that size, white where the image is to be filled in"
        )
    known = grey < 128
    if bool(known.all()):
        raise ValueError(f"the mask {path} is black everywhere: paint white what is to be filled in")
    return known
