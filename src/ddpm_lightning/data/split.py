"""Division of a data set into training, validation and test split."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ddpm_lightning.data.sources.folder import FolderSource
from ddpm_lightning.data.sources.source import ImageSource


class SplitRows(NamedTuple):
    """The rows of each split, int64 (n,). No image of `val` or `test` is in `train`."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


class Split(ABC):
    """Divides the images of a data set; a pure function of its arguments."""

    def prepare(self, source: ImageSource) -> None:  # noqa: B027  # most splits need nothing
        """Makes the source ready to be divided in this way, before anything is read.

        Raises:
            ValueError: it cannot be.
        """

    @abstractmethod
    def rows(self, readable: np.ndarray, official: Mapping[str, np.ndarray]) -> SplitRows:
        """The rows of each split.

        Args:
            readable: int64 (n,), increasing rows of the images that can be read.
            official: the rows of the data set's own splits, from `ImageSource.official_splits`.

        Raises:
            ValueError: the data set cannot be divided in this way.
        """


class Resplit(Split):
    """A random share of all images to train on, the rest to validate and test on; official splits are ignored.

    `val` and `test` are the same images, as in published experiments with an 80/20 split: a run uses them to choose
    nothing except `best.ckpt`, from which no score is computed.

    Args:
        train_fraction: share of the images to train on, in (0, 1).
        seed: of the permutation.
    """

    def __init__(self, train_fraction: float = 0.8, seed: int = 0) -> None:
        if not 0 < train_fraction < 1:
            raise ValueError(f"dataset.split.train_fraction must lie between 0 and 1, not {train_fraction}")
        self._train_fraction = train_fraction
        self._seed = _checked_seed(seed)

    def rows(self, readable: np.ndarray, official: Mapping[str, np.ndarray]) -> SplitRows:
        order = np.random.default_rng(self._seed).permutation(readable)
        count = int(self._train_fraction * len(order))
        train, rest = order[:count], np.sort(order[count:])
        if not (len(train) and len(rest)):
            raise ValueError(
                f"{len(readable)} images are too few for dataset.split.train_fraction={self._train_fraction}"
            )
        return SplitRows(train, rest, rest)


class OfficialSplit(Split):
    """The official splits; without an official validation split, the test split serves as both."""

    def rows(self, readable: np.ndarray, official: Mapping[str, np.ndarray]) -> SplitRows:
        splits = _readable_splits(readable, official)
        return SplitRows(splits["train"], splits.get("val", splits["test"]), splits["test"])


class FolderSplit(OfficialSplit):
    """The folders train, val and test of a `FolderSource`; without one of val and test, the other serves as both."""

    def prepare(self, source: ImageSource) -> None:
        if not isinstance(source, FolderSource):
            raise ValueError(
                f"dataset/split=folders is for dataset=folder: for {source.name} choose official, resplit or another"
            )
        source.take_split_folders()


class ValFromTrain(Split):
    """The official test split, and the official training split divided into `train` and `val`.

    Args:
        val_size: images taken from the training split for `val`.
        seed: of the permutation that takes them.
    """

    def __init__(self, val_size: int = 2000, seed: int = 0) -> None:
        if val_size < 1:
            raise ValueError(f"dataset.split.val_size must be at least 1, not {val_size}")
        self._val_size = val_size
        self._seed = _checked_seed(seed)

    def rows(self, readable: np.ndarray, official: Mapping[str, np.ndarray]) -> SplitRows:
        splits = _readable_splits(readable, official)
        available = len(splits["train"])
        if self._val_size >= available:
            raise ValueError(
                f"dataset.split.val_size={self._val_size} leaves no training images of the {available} available"
            )
        order = np.random.default_rng(self._seed).permutation(splits["train"])
        return SplitRows(order[self._val_size :], order[: self._val_size], splits["test"])


def _readable_splits(readable: np.ndarray, official: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not official:
        raise ValueError("this data set has no official splits: choose dataset/split=resplit")
    return {name: rows[np.isin(rows, readable)] for name, rows in official.items()}


def _checked_seed(seed: int) -> int:
    if seed < 0:
        raise ValueError(f"dataset.split.seed must not be negative, not {seed}")
    return seed
