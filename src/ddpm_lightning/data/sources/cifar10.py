"""CIFAR-10, found where torchvision puts it: `<root>/cifar-10-batches-py`."""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10

from ddpm_lightning.data.sources.download import check_md5, download
from ddpm_lightning.data.sources.resize import RESIZED, check_image_size, resize_images
from ddpm_lightning.data.sources.source import ImageSource

_SIDE = 32
_IMAGES_PER_FILE = 10_000


class CIFAR10Source(ImageSource):
    """50,000 + 10,000 colour images of 32x32, in ten classes (Krizhevsky 2009).

    torchvision reads the files, and only if their md5 sums are the published ones; it downloads them if any is missing.
    """

    name = "cifar10"
    num_classes = 10
    transform = RESIZED

    def __init__(self, root: str | Path, image_size: int = _SIDE) -> None:
        """`root` is the folder above `cifar-10-batches-py/`; images are resized from 32 to `image_size`.

        Raises:
            ValueError: image_size is not positive.
        """
        check_image_size(image_size)
        self.image_shape = (3, image_size, image_size)
        self._root = Path(root)
        self._folder = self._root / CIFAR10.base_folder

    def fingerprint(self) -> str:
        return hashlib.sha256("".join(self._checked_sums.values()).encode()).hexdigest()

    def labels(self) -> np.ndarray:
        return self._arrays[1]

    def official_splits(self) -> dict[str, np.ndarray]:
        """Known without reading a file, for a start with the images in the cache."""
        train, test = (_IMAGES_PER_FILE * len(files) for files in (CIFAR10.train_list, CIFAR10.test_list))
        return {"train": np.arange(train), "test": np.arange(train, train + test)}

    def read(self, rows: range, images: np.ndarray) -> dict[int, str]:
        images[:] = resize_images(self._arrays[0][rows.start : rows.stop], self.image_shape[1])
        return {}

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (N, 3, 32, 32) and labels int64 (N,), the training split's first."""
        _ = self._checked_sums
        splits = [CIFAR10(self._root, train) for train in (True, False)]
        images = np.concatenate([split.data.transpose(0, 3, 1, 2) for split in splits])
        return images, np.concatenate([np.array(split.targets, np.int64) for split in splits])

    @cached_property
    def _checked_sums(self) -> dict[str, str]:
        """Name and md5 sum of each file with images, the training split's first; each is there and as published."""
        sums: dict[str, str] = dict(CIFAR10.train_list + CIFAR10.test_list)
        needed = {**sums, CIFAR10.meta["filename"]: CIFAR10.meta["md5"]}
        if not all((self._folder / name).is_file() for name in needed):
            files = f"{', '.join(needed)} (from {CIFAR10.filename})"
            download(lambda: CIFAR10(self._root, download=True), "CIFAR-10", self._folder, files)
        restore = f"To restore it, delete {self._folder} and run again with network: it is then downloaded."
        for name, published in needed.items():
            check_md5(self._folder / name, published, restore)
        return sums
