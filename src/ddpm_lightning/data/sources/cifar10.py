"""CIFAR-10, found where torchvision puts it: `<root>/cifar-10-batches-py`."""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import download_and_extract_archive

from ddpm_lightning.data.sources.array_pickle import load_arrays
from ddpm_lightning.data.sources.download import check_md5, download
from ddpm_lightning.data.sources.resize import RESIZED, check_image_size, resize_images
from ddpm_lightning.data.sources.source import DataFileError, ImageSource

_SIDE = 32
_IMAGES_PER_FILE = 10_000


class CIFAR10Source(ImageSource):
    """50,000 + 10,000 colour images of 32x32, in ten classes (Krizhevsky 2009).

    A file is read once its md5 is the published one; files that are missing are downloaded, by torchvision.
    """

    name = "cifar10"
    num_classes = 10
    transform = RESIZED

    def __init__(self, root: str | Path, image_size: int = _SIDE) -> None:
        """
        Args:
            root: the folder above `cifar-10-batches-py/`.
            image_size: images are resized from 32 to this.

        Raises:
            ValueError: image_size is not positive.
        """
        check_image_size(image_size)
        self.image_shape = (3, image_size, image_size)
        self._root = Path(root)
        self._folder = self._root / CIFAR10.base_folder
        self._published: dict[str, str] = dict(CIFAR10.train_list + CIFAR10.test_list)  # training files first

    def fingerprint(self) -> str:
        return hashlib.sha256("".join(self._published[name] for name in self._checked_files).encode()).hexdigest()

    def images_hash(self) -> str:
        """Of the files, which are the same everywhere: their labels need not be read."""
        return self.fingerprint()

    def labels(self) -> np.ndarray:
        return self._arrays[1]

    def official_splits(self) -> dict[str, np.ndarray]:
        """By the files' known sizes: no file need be read where the images are in the cache."""
        train, total = (_IMAGES_PER_FILE * len(files) for files in (CIFAR10.train_list, self._published))
        return {"train": np.arange(train), "test": np.arange(train, total)}

    def read(self, rows: range, images: np.ndarray) -> dict[int, str]:
        images[:] = resize_images(self._arrays[0][rows.start : rows.stop], self.image_shape[1])
        return {}

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (N, 3, 32, 32) and labels int64 (N,) of all files."""
        images, labels = zip(*(self._read(self._folder / name) for name in self._checked_files), strict=True)
        return np.concatenate(images), np.concatenate(labels)

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (n, 3, 32, 32) and labels int64 (n,) of a file."""
        try:
            content = load_arrays(path)
            images, labels = np.asarray(content["data"]), np.asarray(content["labels"])
        except Exception as error:  # a damaged pickle can raise anything
            raise DataFileError(f"{path} cannot be read ({error}). {self._how_to_restore()}") from error
        shapes = ((_IMAGES_PER_FILE, 3 * _SIDE**2), (_IMAGES_PER_FILE,))
        if images.dtype != np.uint8 or labels.dtype != np.int64 or (images.shape, labels.shape) != shapes:
            raise DataFileError(
                f"{path} has images {images.dtype} {images.shape} and labels {labels.dtype} {labels.shape}, which "
                f"CIFAR-10's are not. {self._how_to_restore()}"
            )
        return images.reshape(-1, 3, _SIDE, _SIDE), labels

    @cached_property
    def _checked_files(self) -> list[str]:
        """The names of the files, the training split's first; each is there and as published."""
        if not self._is_there():
            download(self._fetch, "CIFAR-10", self._folder, f"{', '.join(self._published)} (of {CIFAR10.filename})")
        for name, published in self._published.items():
            check_md5(self._folder / name, published, self._how_to_restore())
        return list(self._published)

    def _is_there(self) -> bool:
        return all((self._folder / name).is_file() for name in self._published)

    def _fetch(self) -> None:
        if not self._is_there():
            # Not by CIFAR10(download=True): its constructor would run whatever the files' pickles name.
            download_and_extract_archive(CIFAR10.url, self._root, filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)

    def _how_to_restore(self) -> str:
        return f"To restore it, delete {self._folder} and run again with network: it is then downloaded."
