"""Training images that are made as they are asked for, so that a training never sees one twice."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from ddpm_lightning.data.image_dataset import SplitImages
from ddpm_lightning.data.sources.source import ImageSource

_IMAGES_PER_SEED = 2**30
"""Images from the first one of an order's seed to the first one of the next seed's: 16 million batches of 64."""


class EndlessSource(ImageSource):
    """A data set that is made, without labels. `labels`, `official_splits` and `read` are about its held-out images.

    Attributes:
        epoch_size: training images that count as an epoch.
    """

    epoch_size: int

    @abstractmethod
    def make(self, indices: np.ndarray) -> np.ndarray:
        """Training images by their indices, in any process; none is held out.

        Args:
            indices: int64 (n,), not negative.

        Returns:
            uint8 (n, C, H, W).
        """

    def training_split(self, cached: SplitImages) -> SplitImages:
        """The images without end, whatever is cached.

        Raises:
            ValueError: held-out images, which alone are in the cache, would be trained on.
        """
        if len(cached):
            raise ValueError("images without end cannot be divided: take dataset/split=official")
        return EndlessImages(self)


class EndlessImages(SplitImages):
    """The training split of an `EndlessSource`. Its indices go on beyond `len()`."""

    def __init__(self, source: EndlessSource) -> None:
        self._source = source
        self.rows = np.empty(0, np.int64)  # none is in the cache
        made_from = f"endless {source.name} {source.image_shape} {source.fingerprint()}"
        self.fingerprint = hashlib.sha256(made_from.encode()).hexdigest()

    def __len__(self) -> int:
        return self._source.epoch_size

    def images_at(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return self._source.make(np.asarray(indices, np.int64))

    def labels_at(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.zeros(len(indices), np.int64)

    def batch_indices(self, position: int, batch_size: int, seed: int) -> np.ndarray:
        """The next images in line; the line of each seed begins elsewhere, so runs of other seeds see other images."""
        first = seed * _IMAGES_PER_SEED + position * batch_size
        return np.arange(first, first + batch_size)
