"""A split as a map-style data set that gathers a whole batch with one index."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.cache import CachedImages


class IndexedImages(Dataset[Batch]):
    """Chosen rows of cached arrays.

    Pickling it (a DataLoader that spawns its workers does) sends the path of a memory-mapped array, not its contents.

    Attributes:
        rows: int64 (len(self),), the place of each image in the cached arrays.
        fingerprint: hash of data, transform and choice of rows.
    """

    def __init__(self, cached: CachedImages, rows: np.ndarray) -> None:
        self._images = cached.images
        self._labels = cached.labels
        self.rows = rows.astype(np.int64)
        self.fingerprint = hashlib.sha256(cached.fingerprint.encode() + hash_rows(rows).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        """A batch of one image."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The images at these places of the split, as one batch whose slots are these places."""
        return Batch(
            torch.from_numpy(self.images_at(indices)),
            torch.from_numpy(self.labels_at(indices)),
            torch.tensor(indices, dtype=torch.int64),
        )

    def images_at(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """uint8 (n, C, H, W), a copy."""
        images: np.ndarray = np.asarray(self._images)[self.rows[np.asarray(indices, np.int64)]]
        return images

    def labels_at(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """int64 (n,), a copy."""
        labels: np.ndarray = self._labels[self.rows[np.asarray(indices, np.int64)]]
        return labels

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if isinstance(self._images, np.memmap):
            state["_images"] = self._images.filename
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not isinstance(self._images, np.ndarray):
            self._images = np.load(self._images, mmap_mode="r", allow_pickle=False)


def hash_rows(rows: np.ndarray) -> str:
    """Hash of row numbers, the same on every machine."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
