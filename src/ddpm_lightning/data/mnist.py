"""MNIST and FashionMNIST, found where torchvision puts them: `<root>/<class name>/raw`."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from torchvision import datasets
from torchvision.datasets.utils import calculate_md5

from ddpm_lightning.data.idx import read_idx
from ddpm_lightning.data.resize import resize_images
from ddpm_lightning.data.source import DataFileError, ImageSource


class _IdxSource(ImageSource):
    """A data set of four idx files with torchvision's names, mirrors and md5 sums.

    Archives are read as they are, never unpacked, so a folder that holds the files may be read-only. Unpacked files
    serve where there is no archive. Only files that are missing in both forms are downloaded, by torchvision.
    """

    num_classes = 10
    transform = "resized, bilinear and antialiased, in float32"
    _dataset: ClassVar[type[datasets.MNIST]]
    _restore_committed: ClassVar[str] = ""

    def __init__(self, root: str | Path, image_size: int = 28) -> None:
        """
        Args:
            root: the folder above `MNIST/` or `FashionMNIST/`.
            image_size: images are resized from 28 to this (bilinear, antialiased).

        Raises:
            ValueError: image_size is not positive.
        """
        if image_size < 1:
            raise ValueError(f"dataset.image_size must be at least 1, not {image_size}")
        self.image_shape = (1, image_size, image_size)
        self._root = Path(root)
        self._raw = self._root / self._dataset.__name__ / "raw"

    def fingerprint(self) -> str:
        names = [*_split_files("images-idx3-ubyte"), *_split_files("labels-idx1-ubyte")]
        return hashlib.sha256("".join(calculate_md5(self._file(name)) for name in names).encode()).hexdigest()

    def labels(self) -> np.ndarray:
        return np.concatenate(self._labels_by_part).astype(np.int64)

    def parts(self) -> dict[str, np.ndarray]:
        train, test = map(len, self._labels_by_part)
        return {"train": np.arange(train), "test": np.arange(train, train + test)}

    def read(self, places: range, images: np.ndarray) -> dict[int, str]:
        images[:] = resize_images(self._images[places.start : places.stop, None], self.image_shape[1])
        return {}

    @cached_property
    def _labels_by_part(self) -> list[np.ndarray]:
        return [self._read(self._file(name)) for name in _split_files("labels-idx1-ubyte")]

    @cached_property
    def _images(self) -> np.ndarray:
        parts = [self._read(self._file(name)) for name in _split_files("images-idx3-ubyte")]
        counts, expected = [len(part) for part in parts], [len(part) for part in self._labels_by_part]
        if counts != expected:
            raise DataFileError(f"{self._raw} has {counts} images for {expected} labels. {self._how_to_restore()}")
        return np.concatenate(parts)

    def _read(self, path: Path) -> np.ndarray:
        try:
            return read_idx(path)
        except DataFileError as error:
            raise DataFileError(f"{error}. {self._how_to_restore()}") from error

    def _file(self, name: str) -> Path:
        """The archive if there is one (it can be checked against the published md5), else the unpacked file."""
        archive, unpacked = self._raw / f"{name}.gz", self._raw / name
        if not archive.exists() and not unpacked.exists():
            self._download(name)
        if not archive.exists():
            return unpacked
        published = dict(self._dataset.resources)[archive.name]
        if (found := calculate_md5(archive)) != published:
            raise DataFileError(
                f"{archive} is truncated or altered: its md5 is {found}, the published one {published}. "
                f"{self._how_to_restore()}"
            )
        return archive

    def _how_to_restore(self) -> str:
        return f"To restore it, {self._restore_committed}delete it and run again with network: it is then downloaded."

    def _download(self, name: str) -> None:
        try:
            self._dataset(self._root, download=True)
        except (RuntimeError, OSError) as error:
            wanted = ", ".join(archive for archive, _ in self._dataset.resources)
            raise DataFileError(
                f"{name}.gz is not in {self._raw} and could not be downloaded. To restore it, {self._restore_committed}"
                f"put these files there, packed or unpacked (without .gz): {wanted}; or set paths.data_dir to a folder "
                f"that has {self._dataset.__name__}/raw. The download said: {str(error).strip()}"
            ) from error


def _split_files(name: str) -> tuple[str, str]:
    """The names of the training and the test split's file."""
    return f"train-{name}", f"t10k-{name}"


class MNISTSource(_IdxSource):
    """Handwritten digits, 60,000 + 10,000 greyscale images of 28x28 (LeCun, Cortes, Burges)."""

    name = "mnist"
    _dataset = datasets.MNIST
    _restore_committed = (
        "run `git checkout -- data/MNIST/raw` if it is the copy that comes with the project; otherwise "
    )


class FashionMNISTSource(_IdxSource):
    """Clothes, 60,000 + 10,000 greyscale images of 28x28 (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747)."""

    name = "fashion_mnist"
    _dataset = datasets.FashionMNIST
