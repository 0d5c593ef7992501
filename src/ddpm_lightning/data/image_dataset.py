"""A split as a map-style data set that gathers a whole batch with one index."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.cache.cache import CachedImages
from ddpm_lightning.data.order import global_batch


class SplitImages(Dataset[Batch], ABC):
    """The images of a split by their indices in it.

    Attributes:
        rows: int64 (n,), the row of each image in the cached arrays; empty where the images are not from there.
        fingerprint: hash of data, transform and choice of images.
    """

    rows: np.ndarray
    fingerprint: str

    @abstractmethod
    def __len__(self) -> int:
        """The number of images; where there is no end of them, how many count as an epoch."""

    @abstractmethod
    def images_at(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """uint8 (n, C, H, W), a copy."""

    @abstractmethod
    def labels_at(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """int64 (n,), a copy."""

    @abstractmethod
    def batch_indices(self, position: int, batch_size: int, seed: int) -> np.ndarray:
        """The indices, int64 (batch_size,), of training batch number `position`, counted over the whole training."""

    def __getitem__(self, index: int) -> Batch:
        """A batch of one image."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The images at these indices, as one batch whose slots are these indices."""
        return Batch(
            torch.from_numpy(self.images_at(indices)),
            torch.from_numpy(self.labels_at(indices)),
            torch.tensor(indices, dtype=torch.int64),
        )


class IndexedImages(SplitImages):
    """Chosen rows of cached arrays.

    Pickling it (a DataLoader that spawns its workers does) sends the path of the array, not its contents.
    """

    def __init__(self, cached: CachedImages, rows: np.ndarray) -> None:
        self._path = cached.path
        self._images = cached.images
        self._labels = cached.labels
        self.rows = rows.astype(np.int64)
        self.fingerprint = hashlib.sha256(cached.fingerprint.encode() + hash_rows(rows).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def images_at(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.asarray(self._images)[self.rows[np.asarray(indices, np.int64)]]

    def labels_at(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return self._labels[self.rows[np.asarray(indices, np.int64)]]

    def batch_indices(self, position: int, batch_size: int, seed: int) -> np.ndarray:
        """A new permutation each epoch."""
        return global_batch(position, len(self), batch_size, seed)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_images"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._images = np.load(self._path, mmap_mode="r", allow_pickle=False)


def hash_rows(rows: np.ndarray) -> str:
    """Hash of row numbers, the same on every machine."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
