"""CIFAR-10 is read by torchvision from the published files only."""

import hashlib
import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from torchvision.datasets import CIFAR10, cifar
from torchvision.datasets.utils import calculate_md5
from torchvision.transforms import functional

from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.sources import cifar10
from ddpm_lightning.data.sources.cifar10 import CIFAR10Source
from ddpm_lightning.data.sources.download import download
from ddpm_lightning.data.sources.source import DataFileError

PUBLISHED_MD5 = [  # of data_batch_1 to data_batch_5 and test_batch, in Krizhevsky's archive
    "c99cafc152244af753f735de768cd75f",
    "d4bba439e000b95fd0a9bffe97cbabec",
    "54ebc095f3ab1f0389bbae665268c751",
    "634d18415352ddfa80567beed471001a",
    "482c414d41f54cd18b22e5b47cb7c3cb",
    "40351d587109b95175f43aff81a1287e",
]
NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
IN_A_FILE = 7


def write(path: Path, content: bytes) -> None:
    """Writes a file of the data set, as if it were the published one."""
    path.write_bytes(content)
    for published in (*CIFAR10.train_list, *CIFAR10.test_list):
        if published[0] == path.name:
            published[1] = calculate_md5(path)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small set in torchvision's layout."""
    for listed in ("train_list", "test_list"):
        monkeypatch.setattr(CIFAR10, listed, [list(published) for published in getattr(CIFAR10, listed)])
    monkeypatch.setattr(cifar10, "_IMAGES_PER_FILE", IN_A_FILE)
    folder = tmp_path / "root" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in NAMES:
        content = {
            "batch_label": f"batch {name}",
            "labels": rng.integers(0, 10, IN_A_FILE).tolist(),
            "data": rng.integers(0, 256, (IN_A_FILE, 3072), np.uint8),
            "filenames": [f"{name}_{number}.png" for number in range(IN_A_FILE)],
        }
        write(folder / name, pickle.dumps(content))
    meta = folder / "batches.meta"
    meta.write_bytes(pickle.dumps({"label_names": ["cat", "dog"], "num_vis": 3072}))
    monkeypatch.setitem(CIFAR10.meta, "md5", calculate_md5(meta))
    return tmp_path / "root"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """torchvision's download code runs, on an address that cannot answer."""
    monkeypatch.setattr(CIFAR10, "url", f"file://{tmp_path}/no-such-archive")


def read(source: CIFAR10Source, rows: range) -> np.ndarray:
    images = np.empty((len(rows), *source.image_shape), np.uint8)
    assert source.read(rows, images) == {}
    return images


def test_images_labels_and_splits_are_torchvisions(root: Path) -> None:
    source = CIFAR10Source(root)
    images = read(source, range(6 * IN_A_FILE))
    for train, name in ((True, "train"), (False, "test")):
        theirs = CIFAR10(root, train=train)
        rows = source.official_splits()[name]
        np.testing.assert_array_equal(images[rows], theirs.data.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(source.labels()[rows], theirs.targets)
    assert source.labels().dtype == np.int64


def test_any_range_of_rows_can_be_read(root: Path) -> None:
    images = read(CIFAR10Source(root), range(42))
    source = CIFAR10Source(root)
    for rows in (range(7), range(5, 23), range(35, 42), range(41, 42), range(3, 4)):
        np.testing.assert_array_equal(read(source, rows), images[rows.start : rows.stop])


def test_the_cache_holds_what_the_files_hold(root: Path, tmp_path: Path) -> None:
    cached = cached_images(CIFAR10Source(root), tmp_path / "cache")
    np.testing.assert_array_equal(cached.images, read(CIFAR10Source(root), range(42)))
    np.testing.assert_array_equal(cached.labels, CIFAR10Source(root).labels())


@pytest.mark.parametrize("size", [16, 64])
def test_resize_is_antialiased_bilinear(root: Path, size: int) -> None:
    image = read(CIFAR10Source(root, image_size=size), range(8, 9))[0]
    original = functional.to_pil_image(read(CIFAR10Source(root), range(8, 9))[0].transpose(1, 2, 0))
    by_pil = np.asarray(functional.resize(original, [size, size])).transpose(2, 0, 1).astype(int)
    assert np.abs(image.astype(int) - by_pil).max() <= 1


def test_the_fingerprint_is_of_the_published_md5_sums() -> None:
    """It names cache entries, so it must be the same in every version."""
    source = CIFAR10Source("anywhere")
    source._checked_sums = dict(CIFAR10.train_list + CIFAR10.test_list)
    assert source.fingerprint() == hashlib.sha256("".join(PUBLISHED_MD5).encode()).hexdigest()


class _MakesFile:
    """Pickled, a command to make a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def test_a_malicious_pickle_does_not_run(root: Path, tmp_path: Path) -> None:
    path, made = root / "cifar-10-batches-py" / "data_batch_3", tmp_path / "made"
    path.write_bytes(pickle.dumps({"data": _MakesFile(made), "labels": []}))
    for ask in (CIFAR10Source(root).labels, CIFAR10Source(root).fingerprint):
        with pytest.raises(DataFileError, match="data_batch_3 is truncated or altered"):
            ask()
    assert not made.exists()
    pickle.loads(path.read_bytes())
    assert made.exists(), "the attack would have worked on a plain pickle.load"


@pytest.mark.parametrize("file", ["data_batch_1", "test_batch", "batches.meta"])
@pytest.mark.parametrize("kept", [0, 10])
def test_a_truncated_file_is_named_with_advice(root: Path, file: str, kept: int) -> None:
    os.truncate(root / "cifar-10-batches-py" / file, kept)
    with pytest.raises(DataFileError, match=rf"{file} is truncated or altered: its md5 is .* delete .*downloaded"):
        CIFAR10Source(root).labels()


def test_a_read_only_folder_serves_without_network(root: Path, no_network: None) -> None:
    folders = (root / "cifar-10-batches-py", root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert len(CIFAR10Source(root).labels()) == 42
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before, "also if root may write anywhere"


@pytest.mark.parametrize("file", ["data_batch_2", "batches.meta"])
def test_a_missing_file_without_network_is_an_error(root: Path, no_network: None, file: str) -> None:
    (root / "cifar-10-batches-py" / file).unlink()
    with pytest.raises(DataFileError, match=r"could not be downloaded\. Put data_batch_1, .* set paths\.data_dir"):
        CIFAR10Source(root).fingerprint()


def test_missing_files_are_downloaded(root: Path, archives: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = CIFAR10Source(root).labels()
    url, md5 = archives(root, {CIFAR10.filename: ["cifar-10-batches-py"]})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5[CIFAR10.filename])
    monkeypatch.setattr(CIFAR10, "url", url + CIFAR10.filename)
    shutil.rmtree(root)
    np.testing.assert_array_equal(CIFAR10Source(root).labels(), expected)


def test_files_that_another_process_downloads_are_used(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = CIFAR10Source(root).labels()
    folder, begun = root / "cifar-10-batches-py", threading.Event()
    folder.rename(tmp_path / "elsewhere")

    def begin(*arguments: Any) -> None:
        begun.set()
        download(*arguments)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("downloaded twice")

    monkeypatch.setattr(cifar10, "download", begin)
    monkeypatch.setattr(cifar, "download_and_extract_archive", refuse)
    with ThreadPoolExecutor(1) as pool:
        with FileLock(root / ".cifar-10-batches-py.lock"):  # as the process that downloads holds it
            labels = pool.submit(CIFAR10Source(root).labels)
            begun.wait(30)
            (tmp_path / "elsewhere").rename(folder)
        np.testing.assert_array_equal(labels.result(), expected)


def test_a_start_from_the_cache_reads_no_pickle(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached_images(CIFAR10Source(root), tmp_path / "cache")

    def refuse(*_: Any) -> None:
        raise AssertionError("the files are read")

    monkeypatch.setattr(CIFAR10, "__init__", refuse)
    source = CIFAR10Source(root)
    assert len(cached_images(source, tmp_path / "cache").labels) == 42
    assert {name: len(rows) for name, rows in source.official_splits().items()} == {"train": 35, "test": 7}


def test_image_size_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset\.image_size must be at least 1, not 0"):
        CIFAR10Source(tmp_path, image_size=0)
