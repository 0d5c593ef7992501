"""Colour gradients: a toy data set without files, for smoke tests and teaching."""

import hashlib
from pathlib import Path

import numpy as np

from ddpm_lightning.data.sources.source import ImageSource


class GradientsSource(ImageSource):
    """Images between four random corner colours: an image is a function of (seed, its row) alone.

    The first rows are held out and the others trained on, so the held-out ones are the same for any number of others.
    """

    name = "gradients"
    num_classes = 0
    transform = "none"

    def __init__(
        self, root: str | Path, channels: int, height: int, width: int, seed: int, size: int, held_out: int
    ) -> None:
        """`root` is ignored; `size` images are trained on, `held_out` others validated and tested on.

        Raises:
            ValueError: a size is not positive or the seed is negative.
        """
        positive = {"channels": channels, "height": height, "width": width, "size": size, "held_out": held_out}
        for option, value in positive.items():
            if value < 1:
                raise ValueError(f"dataset.source.{option} must be at least 1, not {value}")
        if seed < 0:
            raise ValueError(f"dataset.source.seed must not be negative, not {seed}")
        self.image_shape = (channels, height, width)
        self._seed = seed
        self._size = size
        self._held_out = held_out

    def fingerprint(self) -> str:
        made_from = f"bilinear, Philox by row, seed {self._seed}, {self._held_out} held out, {self._size} others"
        return hashlib.sha256(made_from.encode()).hexdigest()

    def labels(self) -> np.ndarray:
        return np.zeros(self._held_out + self._size, np.int64)

    def official_splits(self) -> dict[str, np.ndarray]:
        rows = np.arange(self._held_out + self._size)
        return {"train": rows[self._held_out :], "test": rows[: self._held_out]}

    def read(self, rows: range, images: np.ndarray) -> dict[int, str]:
        channels, height, width = self.image_shape
        images[:] = between_corners(corner_colours(np.array(rows), channels, self._seed), height, width)
        return {}


def corner_colours(numbers: np.ndarray, channels: int, seed: int) -> np.ndarray:
    """Independent uniform colours from a counter-based generator, whose counter is the image's number.

    uint8 (n, channels, 2, 2), top left, top right; bottom left, bottom right; from numbers (n,) that are not negative.
    """
    size = 4 * channels
    words = -(-size // 8)  # of 64 bits
    key = np.random.SeedSequence(seed).generate_state(2, np.uint64)
    drawn = [np.random.Philox(key=key, counter=[0, int(number), 0, 0]).random_raw(words) for number in numbers]
    colours = np.array(drawn, "<u8").reshape(-1, words).view(np.uint8)[:, :size]
    return colours.reshape(-1, channels, 2, 2)


def between_corners(colours: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation of colours, uint8 (n, C, 2, 2), to images, uint8 (n, C, height, width).

    In float32 and rounded once; the corner pixels have the corners' colours.
    """
    corners = colours.astype(np.float32)
    rightwards = np.linspace(0, 1, width, dtype=np.float32)
    downwards = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    edges = corners[..., :1] + rightwards * (corners[..., 1:] - corners[..., :1])  # (n, C, 2, width): top and bottom
    top, bottom = edges[..., :1, :], edges[..., 1:, :]
    return np.rint(top + downwards * (bottom - top)).astype(np.uint8)
