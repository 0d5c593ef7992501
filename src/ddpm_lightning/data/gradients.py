"""Colour gradients: a toy data set without files, for smoke tests and teaching."""

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np

from ddpm_lightning.data.endless import EndlessSource
from ddpm_lightning.data.source import ImageSource

_BLOCK_BYTES = 32  # what Philox gives for one value of its counter


class GradientsSource(ImageSource):
    """Images between four random corner colours: image i is a function of (seed, i) alone.

    The first images are held out, the rest is trained on, so the held-out ones are the same for any number of others.
    """

    name = "gradients"
    num_classes = 0
    transform = "none"

    def __init__(self, image_shape: tuple[int, int, int], seed: int, size: int, held_out: int) -> None:
        """
        Args:
            image_shape: (C, H, W); pictures and Inception features need C to be 1 or 3.
            seed: of the colours.
            size: images to train on.
            held_out: images to validate and test on.

        Raises:
            ValueError: a size is not positive or the seed is negative.
        """
        channels, height, width = image_shape
        positive = {"channels": channels, "height": height, "width": width, "held_out": held_out}
        for option, value in positive.items():
            if value < 1:
                raise ValueError(f"dataset.source.{option} must be at least 1, not {value}")
        if seed < 0:
            raise ValueError(f"dataset.source.seed must not be negative, not {seed}")
        self.image_shape = image_shape
        self._seed = seed
        self._size = size
        self._held_out = held_out

    def fingerprint(self) -> str:
        made_from = f"bilinear, Philox, seed {self._seed}, {self._held_out} held out, {self._size} others"
        return hashlib.sha256(made_from.encode()).hexdigest()

    def labels(self) -> np.ndarray:
        return np.zeros(self._held_out + self._size, np.int64)

    def parts(self) -> dict[str, np.ndarray]:
        numbers = np.arange(self._held_out + self._size)
        return {"train": numbers[self._held_out :], "test": numbers[: self._held_out]}

    def read(self, places: range, images: np.ndarray) -> dict[int, str]:
        images[:] = self._image(np.array(places))
        return {}

    def _image(self, numbers: np.ndarray) -> np.ndarray:
        channels, height, width = self.image_shape
        return between_corners(corner_colours(numbers, channels, self._seed), height, width)


class EndlessGradientsSource(GradientsSource, EndlessSource):
    """As many gradients to train on as are asked for; only the held-out ones are in the cache."""

    def __init__(self, image_shape: tuple[int, int, int], seed: int, epoch_size: int, held_out: int) -> None:
        """
        Args:
            image_shape: (C, H, W); pictures and Inception features need C to be 1 or 3.
            seed: of the colours.
            epoch_size: training images that count as an epoch.
            held_out: images to validate and test on.

        Raises:
            ValueError: a size is not positive or the seed is negative.
        """
        super().__init__(image_shape, seed, 0, held_out)
        if epoch_size < 1:
            raise ValueError(f"dataset.source.epoch_size must be at least 1, not {epoch_size}")
        self.epoch_size = epoch_size

    def make(self, numbers: np.ndarray) -> np.ndarray:
        return self._image(self._held_out + numbers)


def gradients_source(
    root: str | Path,
    channels: int,
    height: int,
    width: int,
    seed: int,
    size: int | None,
    epoch_size: int,
    held_out: int,
) -> GradientsSource:
    """The data set as conf/dataset/gradients.yaml describes it.

    Args:
        root: the data folder, which every source is given; this one has no files.
        channels: 1 for greyscale, 3 for colour.
        height: in pixels.
        width: in pixels.
        seed: of the colours.
        size: images to train on; None for no end of them.
        epoch_size: images that count as an epoch where there is no end of them.
        held_out: images to validate and test on.

    Raises:
        ValueError: a size is not positive or the seed is negative.
    """
    if size is None:
        return EndlessGradientsSource((channels, height, width), seed, epoch_size, held_out)
    if size < 1:
        raise ValueError(f"dataset.source.size must be at least 1, or null for no end of images, not {size}")
    return GradientsSource((channels, height, width), seed, size, held_out)


def corner_colours(numbers: np.ndarray, channels: int, seed: int) -> np.ndarray:
    """Independent uniform colours from a counter-based generator, whose counter is the image's number.

    Args:
        numbers: int64 (n,), not negative. Consecutive ones are drawn together, so that those are quick.
        channels: of an image.
        seed: not negative.

    Returns:
        uint8 (n, channels, 2, 2): top left, top right; bottom left, bottom right.
    """
    size = 4 * channels
    blocks = -(-size // _BLOCK_BYTES)
    key = np.random.SeedSequence(seed).generate_state(2, np.uint64)
    colours = np.empty((len(numbers), size), np.uint8)
    starts = np.flatnonzero(np.diff(numbers, prepend=-2) != 1)
    for start, stop in pairwise([*starts, len(numbers)]):
        generator = np.random.Philox(key=key, counter=int(numbers[start]) * blocks)
        drawn = generator.random_raw((stop - start) * blocks * _BLOCK_BYTES // 8)
        colours[start:stop] = drawn.astype("<u8").view(np.uint8).reshape(stop - start, -1)[:, :size]
    return colours.reshape(-1, channels, 2, 2)


def between_corners(colours: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation, in float32 and rounded once; the corner pixels have the corners' colours.

    Args:
        colours: uint8 (n, C, 2, 2).
        height: in pixels.
        width: in pixels.

    Returns:
        uint8 (n, C, height, width).
    """
    corners = colours.astype(np.float32)
    rightwards = np.linspace(0, 1, width, dtype=np.float32)
    downwards = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    edges = corners[..., :1] + rightwards * (corners[..., 1:] - corners[..., :1])  # (n, C, 2, width): top and bottom
    top, bottom = edges[..., :1, :], edges[..., 1:, :]
    return np.rint(top + downwards * (bottom - top)).astype(np.uint8)
