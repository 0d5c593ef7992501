"""CIFAR-10, found where torchvision puts it: `<root>/cifar-10-batches-py`."""

import hashlib
import pickle
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import calculate_md5, download_and_extract_archive

from ddpm_lightning.data.resize import resize_images
from ddpm_lightning.data.source import DataFileError, ImageSource

_SIDE = 32
_NEEDED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # its module is called otherwise by now
}
"""All that the data set's pickles may name."""


class CIFAR10Source(ImageSource):
    """50,000 + 10,000 colour images of 32x32, in ten classes (Krizhevsky 2009).

    A file is read once its md5 is the published one; files that are missing are downloaded, by torchvision.
    """

    name = "cifar10"
    num_classes = 10
    transform = "resized, bilinear and antialiased, in float32"

    def __init__(self, root: str | Path, image_size: int = _SIDE) -> None:
        """
        Args:
            root: the folder above `cifar-10-batches-py/`.
            image_size: images are resized from 32 to this (bilinear, antialiased).

        Raises:
            ValueError: image_size is not positive.
        """
        if image_size < 1:
            raise ValueError(f"dataset.image_size must be at least 1, not {image_size}")
        self.image_shape = (3, image_size, image_size)
        self._root = Path(root)
        self._folder = self._root / CIFAR10.base_folder
        self._published: dict[str, str] = dict(CIFAR10.train_list + CIFAR10.test_list)
        self._remembered = ("", np.empty(0, np.uint8))

    def fingerprint(self) -> str:
        return hashlib.sha256("".join(self._published[name] for name in self._checked_files).encode()).hexdigest()

    def labels(self) -> np.ndarray:
        return np.concatenate(list(self._labels_by_file.values()))

    def parts(self) -> dict[str, np.ndarray]:
        train = sum(len(self._labels_by_file[name]) for name, _ in CIFAR10.train_list)
        places = np.arange(len(self.labels()))
        return {"train": places[:train], "test": places[train:]}

    def read(self, places: range, images: np.ndarray) -> dict[int, str]:
        start = 0  # of a file's images
        for name, labels in self._labels_by_file.items():
            stop = start + len(labels)
            wanted = range(max(places.start, start), min(places.stop, stop))
            if wanted:
                found = self._images_of(name)[wanted.start - start : wanted.stop - start]
                images[wanted.start - places.start : wanted.stop - places.start] = resize_images(
                    found, self.image_shape[1]
                )
            start = stop
        return {}

    def _images_of(self, name: str) -> np.ndarray:
        """A file's images, uint8 (n, 3, 32, 32). One file is remembered: the cache reads them one after the other."""
        if self._remembered[0] != name:
            self._remembered = (name, self._read(name)[0])
        return self._remembered[1]

    @cached_property
    def _labels_by_file(self) -> dict[str, np.ndarray]:
        return {name: self._read(name)[1] for name in self._checked_files}

    def _read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (n, 3, 32, 32) and labels int64 (n,) of a file."""
        path = self._folder / name
        try:
            content = load_arrays(path)
            images, labels = np.asarray(content["data"]), np.asarray(content["labels"])
        except Exception as error:  # a damaged pickle can raise anything
            raise DataFileError(f"{path} cannot be read ({error}). {self._how_to_restore()}") from error
        if images.dtype != np.uint8 or labels.dtype != np.int64 or images.shape != (len(labels), 3 * _SIDE**2):
            raise DataFileError(
                f"{path} has images {images.dtype} {images.shape} and labels {labels.dtype} {labels.shape}, which "
                f"CIFAR-10's are not. {self._how_to_restore()}"
            )
        return images.reshape(-1, 3, _SIDE, _SIDE), labels

    @cached_property
    def _checked_files(self) -> list[str]:
        """The names of the files, the training split's first; each is there and as published."""
        if not all((self._folder / name).is_file() for name in self._published):
            self._download()
        for name, published in self._published.items():
            if (found := calculate_md5(self._folder / name)) != published:
                raise DataFileError(
                    f"{self._folder / name} is truncated or altered: its md5 is {found}, the published one "
                    f"{published}. {self._how_to_restore()}"
                )
        return list(self._published)

    def _how_to_restore(self) -> str:
        return f"To restore it, delete {self._folder} and run again with network: it is then downloaded."

    def _download(self) -> None:
        try:
            # Not by CIFAR10(download=True): its constructor would run whatever the files' pickles name.
            download_and_extract_archive(CIFAR10.url, self._root, filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)
        except (RuntimeError, OSError) as error:
            raise DataFileError(
                f"CIFAR-10 is not in {self._folder} and could not be downloaded. Put {', '.join(self._published)} "
                f"there (the files of {CIFAR10.filename}), or set paths.data_dir to a folder that has "
                f"{CIFAR10.base_folder}. The download said: {str(error).strip()}"
            ) from error


class _ArrayUnpickler(pickle.Unpickler):
    """Builds numbers, texts, containers and arrays; a pickle that names anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NEEDED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of an array") from None


def load_arrays(path: Path) -> Any:
    """What a pickle of plain values and numpy arrays holds. No code of the file's choice is run.

    Raises:
        pickle.UnpicklingError: the pickle names something else, or is damaged; damage may raise other errors too.
    """
    with path.open("rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()  # written by Python 2
