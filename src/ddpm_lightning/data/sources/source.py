"""The interface of a data set. A new data set is one subclass of `ImageSource`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np


class DataFileError(ValueError):
    """A data file is missing, truncated or altered. The message names it and says how to restore it."""


class ImageSource(ABC):
    """Labelled images in a fixed order. An image's index in it is its row, stable across calls and in the cache.

    The constructor takes `root`, the data folder, and then the options of its YAML in conf/dataset; a source without
    files ignores `root`.

    Attributes:
        name: identifies the data set in cache folders and reports.
        num_classes: labels are 0 .. num_classes - 1; 0 for a data set without labels, whose labels are all 0.
        image_shape: (C, H, W) of every image that `read` gives; C is 1 for greyscale, 3 for colour.
        transform: human-readable description of what `read` does to an image; a change of it makes a new cache entry.
        slow_to_read: whether reading takes long enough (files to decode) for threads and a progress bar.
        skip_damaged: whether images that cannot be read are left out; otherwise they are an error.
    """

    name: str
    num_classes: int
    image_shape: tuple[int, int, int]
    transform: str
    slow_to_read: ClassVar[bool] = False
    skip_damaged: bool = False

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the files that `read` would read, and of every setting that changes the pixels except `image_shape`.

        A change on disk changes it.

        Raises:
            DataFileError: a file is missing or damaged.
        """

    @abstractmethod
    def labels(self) -> np.ndarray:
        """Int64 (N,), the label of every image.

        Raises:
            DataFileError: a file is missing or damaged.
        """

    @abstractmethod
    def official_splits(self) -> Mapping[str, np.ndarray]:
        """The data set's own splits: int64 rows of "train", "test" and, where there is one, "val"; empty without."""

    @abstractmethod
    def read(self, rows: range, images: np.ndarray) -> dict[int, str]:
        """Reads images; several threads at once if the source is `slow_to_read`.

        Args:
            rows: consecutive rows, in the order of `labels`.
            images: uint8 (len(rows), C, H, W), to be filled.

        Returns:
            for each damaged image, its row and the reason, one line that names the file; what `images` has for it is
            left alone.

        Raises:
            DataFileError: a file of several images is missing or damaged, or the system refuses to read a file.
            MemoryError: an image is too large to be decoded.
        """
