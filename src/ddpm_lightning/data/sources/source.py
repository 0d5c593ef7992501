"""What a data set must answer to be trained on. A new data set is one subclass of `ImageSource`."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:  # importing it would import torch, which processes that decode images do not need
    from ddpm_lightning.data.image_dataset import SplitImages


class DataFileError(ValueError):
    """A data file is missing, truncated or altered. The message names it and says how to restore it."""


class ImageSource(ABC):
    """Labelled images in a fixed order; an image's number in it is its row, at every call and in the cache.

    The constructor takes `root`, the data folder, and then the options of its YAML in conf/dataset; a source without
    files has no use for `root`. A source is pickled and sent to the processes that fill the cache.

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
    def official_splits(self) -> Mapping[str, np.ndarray]:
        """The data set's own splits: int64 rows of "train", "test" and, where there is one, "val"; empty without."""

    @abstractmethod
    def read(self, rows: range, images: np.ndarray) -> dict[int, str]:
        """Read images, in any process.

        Args:
            rows: consecutive rows, in the order of `labels`.
            images: uint8 (len(rows), C, H, W), to be filled.

        Returns:
            for each damaged image, its row and the reason, one line that names the file; what `images` has for it is
            left alone.

        Raises:
            DataFileError: a file that is not one image's alone is missing or damaged.
        """

    def images_hash(self) -> str:
        """Hash of which image each row is, whatever files hold the images, in any encoding and on any machine.

        Here of the labels, for a data set that is published in one order.

        Raises:
            DataFileError: a file is missing or damaged.
        """
        return hashlib.sha256(self.labels().astype("<i8").tobytes()).hexdigest()

    def training_split(self, cached: "SplitImages") -> "SplitImages":
        """What is trained on, given the training split's images in the cache: these, unless others are made."""
        return cached
