"""Small data sets in their real on-disk layout, and the real ones where they are present."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddpm_lightning.data.source import ImageSource, Split

REPOSITORY_DATA = Path(__file__).resolve().parents[2] / "data"


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def idx_root(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a set of 50 + 20 images as unpacked idx files under `<root>/<class name>/raw`; returns the root."""

    def make(class_name: str) -> Path:
        raw = tmp_path / "root" / class_name / "raw"
        raw.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for prefix, count in (("train", 50), ("t10k", 20)):
            write_idx(raw / f"{prefix}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28)))
            write_idx(raw / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)
        return tmp_path / "root"

    return make


@pytest.fixture
def mnist_root() -> Path:
    if not (REPOSITORY_DATA / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("the MNIST archives of the repository are not here: git checkout -- data/MNIST/raw")
    return REPOSITORY_DATA


@pytest.fixture
def large_data_root() -> Path:
    if "DDPM_DATA_DIR" not in os.environ:
        pytest.skip("set DDPM_DATA_DIR to a folder with FashionMNIST/raw")
    return Path(os.environ["DDPM_DATA_DIR"])


class CountingSource(ImageSource):
    """Images and labels that are their own number, so that a test can tell which image it was given."""

    name = "counting"
    num_classes = 10
    channels = 1

    def __init__(self, train: int = 43, test: int = 20, image_size: int = 2) -> None:
        self.image_size = image_size
        self.sizes = {"train": train, "test": test}
        self.reads = 0

    def fingerprint(self, split: Split) -> str:
        return f"{split} {self.sizes[split]}"

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        self.reads += 1
        numbers = np.arange(self.sizes[split])
        shape = (len(numbers), self.channels, self.image_size, self.image_size)
        images = np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], shape)
        return images, numbers.astype(np.int64)


@pytest.fixture
def counting_source() -> Callable[..., CountingSource]:
    return CountingSource
