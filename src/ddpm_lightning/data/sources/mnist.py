"""MNIST and FashionMNIST, found where torchvision puts them: `<root>/<class name>/raw`."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from torchvision import datasets

from ddpm_lightning.data.sources.download import check_md5, download, md5_sum
from ddpm_lightning.data.sources.idx import read_idx
from ddpm_lightning.data.sources.resize import RESIZED, check_image_size, resize_images
from ddpm_lightning.data.sources.source import DataFileError, ImageSource


class _IdxSource(ImageSource):
    """A data set of four idx files with torchvision's names, mirrors and md5 sums.

    Archives are read as they are, never unpacked, so a folder that holds the files may be read-only. Unpacked files
    serve where there is no archive. Only files that are missing in both forms are downloaded, by torchvision.
    """

    num_classes = 10
    transform = RESIZED
    _dataset: ClassVar[type[datasets.MNIST]]
    _committed: ClassVar[str] = ""
    """How to restore the copy that comes with the project, for errors."""

    def __init__(self, root: str | Path, image_size: int = 28) -> None:
        """`root` is the folder above `MNIST/` or `FashionMNIST/`; images are resized from 28 to `image_size`.

        Raises:
            ValueError: image_size is not positive.
        """
        check_image_size(image_size)
        self.image_shape = (1, image_size, image_size)
        self._root = Path(root)
        self._folder = self._root / self._dataset.__name__
        self._raw = self._folder / "raw"

    def fingerprint(self) -> str:
        names = [*_split_files("images-idx3-ubyte"), *_split_files("labels-idx1-ubyte")]
        return hashlib.sha256("".join(md5_sum(self._file(name)) for name in names).encode()).hexdigest()

    def labels(self) -> np.ndarray:
        return np.concatenate(self._labels_by_split).astype(np.int64)

    def official_splits(self) -> dict[str, np.ndarray]:
        train, test = map(len, self._labels_by_split)
        return {"train": np.arange(train), "test": np.arange(train, train + test)}

    def read(self, rows: range, images: np.ndarray) -> dict[int, str]:
        images[:] = resize_images(self._images[rows.start : rows.stop, None], self.image_shape[1])
        return {}

    @cached_property
    def _labels_by_split(self) -> list[np.ndarray]:
        return [self._read(self._file(name)) for name in _split_files("labels-idx1-ubyte")]

    @cached_property
    def _images(self) -> np.ndarray:
        splits = [self._read(self._file(name)) for name in _split_files("images-idx3-ubyte")]
        counts, expected = [len(split) for split in splits], [len(split) for split in self._labels_by_split]
        if counts != expected:
            raise DataFileError(f"{self._raw} has {counts} images for {expected} labels. {self._how_to_restore()}")
        return np.concatenate(splits)

    def _read(self, path: Path) -> np.ndarray:
        try:
            return read_idx(path)
        except DataFileError as error:
            raise DataFileError(f"{error}. {self._how_to_restore()}") from error
        except OSError as error:  # the file may be whole, and readable the next time
            raise DataFileError(f"cannot read {path}: {error.strerror}") from error

    def _file(self, name: str) -> Path:
        """The archive if there is one (it can be checked against the published md5), else the unpacked file."""
        archive, unpacked = self._raw / f"{name}.gz", self._raw / name
        if not archive.exists() and not unpacked.exists():
            self._download()
        if not archive.exists():
            return unpacked
        check_md5(archive, dict(self._dataset.resources)[archive.name], self._how_to_restore())
        return archive

    def _how_to_restore(self) -> str:
        how = f"delete it and run again with network: it is then downloaded{self._committed and f'; {self._committed}'}"
        return f"To restore it, {how}."

    def _download(self) -> None:
        archives = ", ".join(f"raw/{archive}" for archive, _ in self._dataset.resources)
        files = f"{archives} (packed or not{self._committed and f'; {self._committed}'})"
        download(lambda: self._dataset(self._root, download=True), self._dataset.__name__, self._folder, files)


def _split_files(name: str) -> tuple[str, str]:
    """The names of the training and the test split's file."""
    return f"train-{name}", f"t10k-{name}"


class MNISTSource(_IdxSource):
    """Handwritten digits, 60,000 + 10,000 greyscale images of 28x28 (LeCun, Cortes, Burges)."""

    name = "mnist"
    _dataset = datasets.MNIST
    _committed = "`git checkout -- data/MNIST/raw` restores the copy that comes with the project"


class FashionMNISTSource(_IdxSource):
    """Clothes, 60,000 + 10,000 greyscale images of 28x28 (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747)."""

    name = "fashion_mnist"
    _dataset = datasets.FashionMNIST
