"""What a data set must answer to be trained on. A new data set is one subclass of `ImageSource`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np


class DataFileError(ValueError):
    """A data file is missing, truncated or altered. The message names it and says how to restore it."""


class ImageSource(ABC):
    """Labelled images in a fixed order: image i is the same at every call.

    It is pickled and sent to the processes that fill the cache.

    Attributes:
        name: identifies the data set in cache folders and reports.
        num_classes: labels are 0 .. num_classes - 1; 0 for a data set without labels, whose labels are all 0.
        image_shape: (C, H, W) of every image that `read` gives; C is 1 for greyscale, 3 for colour.
        transform: what `read` does to an image, in words; a change of it makes a new cache.
        slow_to_read: whether reading is slow enough (files to decode) to be worth processes of its own.
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
        """Hash of the files that `read` would read and of every setting that changes what it gives, but `image_shape`.

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
    def parts(self) -> Mapping[str, np.ndarray]:
        """The authors' own division: int64 places of the images of "train", "test" and, where there is one, "val".

        Empty for a data set that its authors have not divided.
        """

    @abstractmethod
    def read(self, places: range, images: np.ndarray) -> dict[int, str]:
        """Read the images at `places`, in any process.

        Args:
            places: consecutive places in the order of `labels`.
            images: uint8 (len(places), C, H, W), to be filled.

        Returns:
            for each image that cannot be read, its place and the reason, naming the file; those rows stay as they are.

        Raises:
            DataFileError: a file that is not one image's alone is missing or damaged.
        """
