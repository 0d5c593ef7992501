"""A split: chosen rows of the cached arrays."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ddpm_lightning.data.cache.cache import CacheEntry


class ImageDataset:
    """The images and labels of a split, by their indices in it: a whole batch is gathered with one index.

    Pickling it (a DataLoader that spawns its workers does) sends the path of the array, not its contents.

    Attributes:
        rows: int64 (n,), the row of each image in the cached arrays.
        fingerprint: hash of the cached arrays and of the rows.
    """

    def __init__(self, cached: CacheEntry, rows: np.ndarray) -> None:
        self._path = cached.path
        self._images = cached.images
        self._labels = cached.labels
        self.rows = rows.astype(np.int64)
        self.fingerprint = hashlib.sha256(cached.fingerprint.encode() + hash_rows(rows).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def images_at(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """uint8 (n, C, H, W), a copy."""
        return np.asarray(self._images)[self.rows[np.asarray(indices, np.int64)]]

    def labels_at(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """int64 (n,), a copy."""
        return self._labels[self.rows[np.asarray(indices, np.int64)]]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_images"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._images = np.load(self._path, mmap_mode="r", allow_pickle=False)


def hash_rows(rows: np.ndarray) -> str:
    """Hash of row numbers, the same on every machine."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
