"""Normalisers: uint8 images outside the model, floats inside it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ddpm_lightning.data.image_dataset import ImageDataset

_HALF_RANGE = 127.5  # 0 .. 255 becomes -1 .. 1
_MAX = 255
_CHUNK = 1024  # images counted at one time


class Normalizer(nn.Module, ABC):
    """A map of each channel's 0..255 to floats and back; all 256 values survive the round trip.

    It keeps its statistics in buffers, so that they move with the model and are stored in its checkpoints.

    Args:
        channels: of the images.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels

    @property
    @abstractmethod
    def value_range(self) -> tuple[Tensor | float, Tensor | float]:
        """The images of 0 and 255: each a number, or (C, 1, 1) on the model's device."""

    @abstractmethod
    def fit(self, images: ImageDataset) -> None:
        """Computes the statistics of the training split, once before the training.

        Raises:
            ValueError: the images cannot be normalised in this way.
        """

    def to_model(self, images: Tensor) -> Tensor:
        """(..., C, H, W), uint8 -> float32 within `value_range`.

        Raises:
            TypeError: the images are not uint8, so they may be normalised already.
            ValueError: the images have another number of channels.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"to_model takes uint8 images, got {images.dtype}: are they normalised already?")
        self._check_channels(images.shape)
        return self._normalized(images.float())

    def to_uint8(self, images: Tensor) -> Tensor:
        """(..., C, H, W), float -> uint8: clamped to `value_range`, then rounded to the nearest of the 256 values.

        Raises:
            ValueError: the images have another number of channels.
        """
        self._check_channels(images.shape)
        return self._restored(self.clamp(images.float())).round().to(torch.uint8)

    def clamp(self, images: Tensor) -> Tensor:
        """(..., C, H, W), float: values outside `value_range` moved to its border."""
        low, high = self.value_range
        return images.clamp_min(low).clamp_max(high)

    @abstractmethod
    def _normalized(self, images: Tensor) -> Tensor:
        """(..., C, H, W), float32, 0..255 -> the same shape, within `value_range`."""

    @abstractmethod
    def _restored(self, images: Tensor) -> Tensor:
        """The inverse of `_normalized`."""

    def _check_channels(self, shape: Sequence[int]) -> None:
        """Raises ValueError for another number of channels: broadcasting would accept one in place of three."""
        if len(shape) < 3 or shape[-3] != self._channels:
            raise ValueError(f"images must be (..., {self._channels}, height, width), not {tuple(shape)}")


class SymmetricNormalizer(Normalizer):
    """To [-1, 1] (Ho et al. 2020, section 3.3)."""

    @property
    def value_range(self) -> tuple[float, float]:
        """(-1, 1)."""
        return (-1.0, 1.0)

    def fit(self, images: ImageDataset) -> None:
        """Nothing: this normaliser needs no statistics."""

    def _normalized(self, images: Tensor) -> Tensor:
        return images / _HALF_RANGE - 1.0

    def _restored(self, images: Tensor) -> Tensor:
        return (images + 1.0) * _HALF_RANGE


class StandardizedNormalizer(Normalizer):
    """Each channel to mean 0 and standard deviation 1 over the pixels of the training split.

    The noise then has the variance of the data, as in DDIM for Keras (Béres 2022).

    Attributes:
        mean: (C, 1, 1), float32, on the scale 0..255.
        std: (C, 1, 1), float32, the population's; both are NaN until `fit` or a checkpoint sets them, so that anything
            computed without them is NaN too.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("mean", torch.full((channels, 1, 1), math.nan))
        self.register_buffer("std", torch.full((channels, 1, 1), math.nan))

    @property
    def value_range(self) -> tuple[Tensor, Tensor]:
        """Each channel's own, (C, 1, 1)."""
        return (self._normalized(torch.zeros_like(self.mean)), self._normalized(torch.full_like(self.mean, _MAX)))

    def fit(self, images: ImageDataset) -> None:
        """Counts the training split's values; the same numbers on every rank, whatever the images' order.

        Raises:
            ValueError: there are no images, or they have another number of channels, or a channel is constant, so that
                there is no deviation to divide by.
        """
        counts = self._count_values(images).double()
        values = torch.arange(_MAX + 1, dtype=torch.float64)
        pixels = counts.sum(1)
        mean = (counts * values).sum(1) / pixels
        std = ((counts * (values - mean[:, None]) ** 2).sum(1) / pixels).sqrt()
        for channel, deviation in enumerate(std.tolist()):
            if not deviation > 0:  # also if it is NaN, without any pixel
                raise ValueError(
                    f"channel {channel} is the same in every pixel of the {len(images)} training images, so it cannot "
                    "be standardised: check the data, or use normalizer=symmetric"
                )
        self.mean.copy_(mean[:, None, None])
        self.std.copy_(std[:, None, None])

    def _count_values(self, images: ImageDataset) -> Tensor:
        """How often each channel has each value: (C, 256), int64."""
        counts = torch.zeros(self._channels, _MAX + 1, dtype=torch.int64)
        for start in range(0, len(images), _CHUNK):
            chunk = images.images_at(range(start, min(start + _CHUNK, len(images))))
            self._check_channels(chunk.shape)
            for channel in range(self._channels):
                values = torch.from_numpy(chunk[:, channel].reshape(-1))
                counts[channel] += torch.bincount(values, minlength=_MAX + 1)
        return counts

    def _normalized(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std

    def _restored(self, images: Tensor) -> Tensor:
        return images * self.std + self.mean
