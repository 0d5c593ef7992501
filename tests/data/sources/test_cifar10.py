"""CIFAR-10 is read from its pickles, and no pickle runs code."""

import io
import pickle
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import calculate_md5
from torchvision.transforms import functional

from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.sources import cifar10
from ddpm_lightning.data.sources.cifar10 import CIFAR10Source
from ddpm_lightning.data.sources.download import download
from ddpm_lightning.data.sources.source import DataFileError

NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
IN_A_FILE = 7


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes text and bytes alike as Python 2's strings, as the published files have them."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def _save_string(self, value: str | bytes) -> None:
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + len(raw).to_bytes(4, "little") + raw)

    dispatch[str] = dispatch[bytes] = _save_string


def python2_pickle(value: Any) -> bytes:
    file = io.BytesIO()
    _Python2Pickler(file, 2).dump(value)
    return file.getvalue().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")


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
        write(folder / name, python2_pickle(content))
    meta = folder / "batches.meta"
    meta.write_bytes(python2_pickle({"label_names": ["cat", "dog"], "num_vis": 3072}))
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


def test_any_stretch_of_images_can_be_read(root: Path) -> None:
    images = read(CIFAR10Source(root), range(42))
    source = CIFAR10Source(root)
    for rows in (range(7), range(5, 23), range(35, 42), range(41, 42), range(3, 4)):
        np.testing.assert_array_equal(read(source, rows), images[rows.start : rows.stop])


def test_images_are_known_by_their_files_without_reading_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(root, tmp_path / "copy")
    monkeypatch.delattr(cifar10, "load_arrays")
    first = CIFAR10Source(root).images_hash()
    assert CIFAR10Source(tmp_path / "copy", image_size=8).images_hash() == first
    path = root / "cifar-10-batches-py" / "test_batch"
    write(path, path.read_bytes() + b"another")
    assert CIFAR10Source(root).images_hash() != first


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


class _Runs:
    """Pickled, a command to make a file."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self._call, self._arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call, self._arguments


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", ["method", "builtin", "system"])
def test_a_malicious_pickle_does_not_run(root: Path, tmp_path: Path, protocol: int, kind: str) -> None:
    import os

    made = tmp_path / "made"
    attack = {
        "method": _Runs(Path.touch, made),
        "builtin": _Runs(eval, f"open({str(made)!r}, 'w')"),
        "system": _Runs(os.system, f"touch {made}"),
    }[kind]
    path = root / "cifar-10-batches-py" / "data_batch_3"
    write(path, pickle.dumps({"data": attack, "labels": []}, protocol))
    with pytest.raises(DataFileError, match=r"data_batch_3 cannot be read \(it asks for .*, which is no part of"):
        CIFAR10Source(root).labels()
    assert not made.exists()
    pickle.loads(path.read_bytes())
    assert made.exists(), "the attack would have worked on a plain pickle.load"


@pytest.mark.parametrize("kept", [0, 1, 100, 5000])
def test_a_truncated_file_is_named_with_the_way_to_restore_it(root: Path, kept: int) -> None:
    path = root / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataFileError, match=r"test_batch is truncated or altered: its md5 is .* delete .*downloaded"):
        CIFAR10Source(root).fingerprint()
    write(path, path.read_bytes())  # a damage that the md5 does not show
    with pytest.raises(DataFileError, match=r"test_batch cannot be read .* delete .*downloaded"):
        CIFAR10Source(root).labels()


@pytest.mark.parametrize(
    "content",
    [
        {"data": np.zeros((7, 3072), np.float32), "labels": [1] * 7},
        {"data": np.zeros((7, 3000), np.uint8), "labels": [1] * 7},
        {"data": np.zeros((7, 3072), np.uint8), "labels": [1] * 8},
        {"data": np.zeros((7, 3072), np.uint8), "labels": [1.5] * 7},
        {"data": np.zeros((6, 3072), np.uint8), "labels": [1] * 6},
        {"data": np.zeros((7, 3072), np.uint8)},
        [1, 2],
    ],
)
def test_a_file_of_other_things_is_refused(root: Path, content: Any) -> None:
    write(root / "cifar-10-batches-py" / "data_batch_1", python2_pickle(content))
    with pytest.raises(DataFileError, match=r"data_batch_1 (cannot be read|has images)"):
        CIFAR10Source(root).labels()


def test_a_missing_file_without_network_names_the_files(root: Path, no_network: None) -> None:
    (root / "cifar-10-batches-py" / "data_batch_2").unlink()
    with pytest.raises(DataFileError, match=r"could not be downloaded\. Put data_batch_1, .* set paths\.data_dir"):
        CIFAR10Source(root).fingerprint()


def test_missing_files_are_downloaded(root: Path, archives: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = CIFAR10Source(root).labels()
    url, md5 = archives(root, {CIFAR10.filename: ["cifar-10-batches-py"]})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5[CIFAR10.filename])
    monkeypatch.setattr(CIFAR10, "url", url + CIFAR10.filename)
    shutil.rmtree(root)
    np.testing.assert_array_equal(CIFAR10Source(root).labels(), expected)


def test_what_another_process_downloads_is_not_downloaded_again(
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
    monkeypatch.setattr(cifar10, "download_and_extract_archive", refuse)
    with ThreadPoolExecutor(1) as pool:
        with FileLock(root / ".cifar-10-batches-py.lock"):  # as the process that downloads holds it
            labels = pool.submit(CIFAR10Source(root).labels)
            begun.wait(30)
            (tmp_path / "elsewhere").rename(folder)
        np.testing.assert_array_equal(labels.result(), expected)


def test_a_start_with_the_images_in_the_cache_reads_no_pickle(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_images(CIFAR10Source(root), tmp_path / "cache")

    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr(cifar10, "load_arrays", refuse)
    source = CIFAR10Source(root)
    assert len(cached_images(source, tmp_path / "cache").labels) == 42
    assert {name: len(rows) for name, rows in source.official_splits().items()} == {"train": 35, "test": 7}


def test_image_size_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset\.image_size must be at least 1, not 0"):
        CIFAR10Source(tmp_path, image_size=0)
