"""What a data set must answer to be trained on. A new data set is one subclass of `ImageSource`."""

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np

Split = Literal["train", "test"]


class DataFileError(ValueError):
    """A data file is missing, truncated or altered. The message names it and says how to restore it."""


class ImageSource(ABC):
    """Labelled images on disk, in the "train" and "test" splits that the data set's authors made.

    Attributes:
        name: identifies the data set in cache folders and reports.
        num_classes: labels are 0 .. num_classes - 1.
        image_size: height and width of the square images that `read` returns.
        channels: 1 for greyscale, 3 for colour.
    """

    name: str
    num_classes: int
    image_size: int
    channels: int

    @abstractmethod
    def fingerprint(self, split: Split) -> str:
        """Hash of the files that `read(split)` would read: a change on disk changes it.

        It must also change with every setting that changes what `read` returns, except `image_size` and `channels`,
        which the cache keys by itself.

        Raises:
            DataFileError: a file is missing or damaged.
        """

    @abstractmethod
    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Read a whole split.

        Returns:
            images uint8 (N, channels, image_size, image_size) and labels int64 (N,).

        Raises:
            DataFileError: a file is missing or damaged.
        """
