"""Official archives and unpacked idx files: read, damaged and missing."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision import datasets
from torchvision.transforms import functional

from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.sources.idx import read_idx
from ddpm_lightning.data.sources.mnist import FashionMNISTSource, MNISTSource
from ddpm_lightning.data.sources.resize import resize_images
from ddpm_lightning.data.sources.source import DataFileError, ImageSource

IdxRoot = Callable[[str], Path]


def split_of(source: ImageSource, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one of the official splits."""
    rows = source.official_splits()[name]
    images = np.empty((len(rows), *source.image_shape), np.uint8)
    assert source.read(range(rows[0], rows[-1] + 1), images) == {}
    return images, source.labels()[rows]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """torchvision's download code runs, on mirrors that cannot answer."""
    for dataset in (datasets.MNIST, datasets.FashionMNIST):
        monkeypatch.setattr(dataset, "mirrors", [f"file://{tmp_path}/no-such-mirror/"])


def test_torchvision_accepts_the_committed_archives_offline(mnist_root: Path, tmp_path: Path, no_network: None) -> None:
    shutil.copytree(mnist_root / "MNIST" / "raw", tmp_path / "MNIST" / "raw", ignore=shutil.ignore_patterns("*-ubyte"))
    for train, split in ((True, "train"), (False, "test")):
        theirs = datasets.MNIST(tmp_path, train=train, download=True)
        images, labels = split_of(MNISTSource(mnist_root), split)
        np.testing.assert_array_equal(images[:, 0], theirs.data.numpy())
        np.testing.assert_array_equal(labels, theirs.targets.numpy())


def test_reading_archives_writes_nothing(mnist_root: Path, tmp_path: Path) -> None:
    shutil.copytree(mnist_root / "MNIST" / "raw", tmp_path / "MNIST" / "raw", ignore=shutil.ignore_patterns("*-ubyte"))
    images, labels = split_of(MNISTSource(tmp_path), "test")
    assert images.shape == (10000, 1, 28, 28) and images.dtype == np.uint8
    assert labels.shape == (10000,) and labels.dtype == np.int64
    assert all(path.suffix == ".gz" for path in (tmp_path / "MNIST" / "raw").iterdir())


def test_fashion_mnist_from_a_folder_with_unpacked_files_only(large_data_root: Path) -> None:
    theirs = datasets.FashionMNIST(large_data_root, train=False)
    images, labels = split_of(FashionMNISTSource(large_data_root), "test")
    np.testing.assert_array_equal(images[:, 0], theirs.data.numpy())
    np.testing.assert_array_equal(labels, theirs.targets.numpy())


def test_unpacked_files_serve_without_network(idx_root: IdxRoot, no_network: None) -> None:
    root = idx_root("FashionMNIST")
    theirs = datasets.FashionMNIST(root, train=True)
    images, labels = split_of(FashionMNISTSource(root), "train")
    np.testing.assert_array_equal(images[:, 0], theirs.data.numpy())
    np.testing.assert_array_equal(labels, theirs.targets.numpy())


def test_missing_archives_are_downloaded(
    mnist_root: Path, archives: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name, _ in datasets.MNIST.resources]
    url, _ = archives(mnist_root / "MNIST" / "raw", {name: [name] for name in names})
    monkeypatch.setattr(datasets.MNIST, "mirrors", [url])
    _, labels = split_of(MNISTSource(tmp_path / "new"), "test")
    np.testing.assert_array_equal(labels, split_of(MNISTSource(mnist_root), "test")[1])


def test_missing_archives_without_network_are_named(tmp_path: Path, no_network: None) -> None:
    with pytest.raises(
        DataFileError, match=r"MNIST is not complete in .*MNIST.* Put raw/train-images-idx3-ubyte\.gz, .*git checkout"
    ):
        MNISTSource(tmp_path).fingerprint()
    with pytest.raises(
        DataFileError, match=r"FashionMNIST and could not be downloaded\. Put raw/train-.*\(packed or not\)"
    ):
        FashionMNISTSource(tmp_path).fingerprint()


def test_a_truncated_archive_is_named_with_the_way_to_restore_it(mnist_root: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(mnist_root / "MNIST" / "raw", raw)
    damaged = raw / "t10k-images-idx3-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    with pytest.raises(DataFileError, match=r"t10k-images-idx3-ubyte\.gz.*git checkout -- data/MNIST/raw"):
        split_of(MNISTSource(tmp_path), "test")


def test_images_without_their_labels_are_refused(idx_root: IdxRoot) -> None:
    root = idx_root("FashionMNIST")
    raw = root / "FashionMNIST" / "raw"
    shutil.copy(raw / "train-labels-idx1-ubyte", raw / "t10k-labels-idx1-ubyte")
    with pytest.raises(DataFileError, match=r"has \[50, 20\] images for \[50, 50\] labels.*delete it and run again"):
        split_of(FashionMNISTSource(root), "test")


def test_a_range_of_rows_may_cross_from_one_split_to_the_next(idx_root: IdxRoot) -> None:
    source = MNISTSource(idx_root("MNIST"), image_size=14)
    images = np.empty((10, 1, 14, 14), np.uint8)
    source.read(range(45, 55), images)
    np.testing.assert_array_equal(
        images, np.concatenate([split_of(source, "train")[0][45:], split_of(source, "test")[0][:5]])
    )


@pytest.mark.parametrize("kept", [0, 3, 10, 1000])
def test_a_truncated_unpacked_file_is_named(idx_root: IdxRoot, kept: int) -> None:
    root = idx_root("FashionMNIST")
    damaged = root / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:kept])
    with pytest.raises(DataFileError, match=r"t10k-images-idx3-ubyte .*delete it and run again"):
        split_of(FashionMNISTSource(root), "test")


def test_an_unreadable_file_is_not_an_error_of_the_cache(idx_root: IdxRoot, tmp_path: Path) -> None:
    root = idx_root("FashionMNIST")
    path = root / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte"

    class Unreadable(FashionMNISTSource):
        def labels(self) -> np.ndarray:  # asked for before the images are read, and after the files are hashed
            path.unlink()
            path.mkdir()
            return super().labels()

    with pytest.raises(DataFileError, match=r"^cannot read .*t10k-images-idx3-ubyte: Is a directory$"):
        cached_images(Unreadable(root), tmp_path / "cache")


def test_a_truncated_gzip_stream_is_a_data_file_error(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 3, 232]) + bytes(1000))[:-9])
    with pytest.raises(DataFileError, match="not a complete gzip archive"):
        read_idx(path)


def test_fingerprint_follows_the_files(idx_root: IdxRoot) -> None:
    root = idx_root("MNIST")
    raw = root / "MNIST" / "raw"
    fingerprints = {MNISTSource(root).fingerprint()}
    for path in raw.iterdir():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        fingerprints.add(MNISTSource(root).fingerprint())
    assert len(fingerprints) == 5
    assert MNISTSource(root, image_size=14).fingerprint() in fingerprints


@pytest.mark.parametrize("size", [16, 32, 33])
def test_resize_is_torchvisions_antialiased_bilinear(idx_root: IdxRoot, size: int) -> None:
    root = idx_root("MNIST")
    images, _ = split_of(MNISTSource(root, image_size=size), "train")
    assert images.shape == (50, 1, size, size) and images.dtype == np.uint8
    # PIL's bilinear filter is antialiased and an independent implementation; it rounds between its two passes.
    original = functional.to_pil_image(split_of(MNISTSource(root), "train")[0][7, 0])
    by_pil = np.asarray(functional.resize(original, [size, size])).astype(int)
    assert np.abs(images[7, 0].astype(int) - by_pil).max() <= 1


def test_resize_keeps_a_constant_image_and_the_native_size() -> None:
    images = np.full((2, 1, 28, 28), 255, dtype=np.uint8)
    assert resize_images(images, 28) is images
    assert (resize_images(images, 64) == 255).all()


def test_image_size_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="image_size must be at least 1, not 0"):
        MNISTSource(tmp_path, image_size=0)
