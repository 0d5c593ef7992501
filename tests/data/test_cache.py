"""The cache holds what the source returned, is built once, and is rebuilt when it is not whole."""

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddpm_lightning.data.cache import cached_arrays
from ddpm_lightning.data.source import ImageSource, Split

MakeSource = Callable[..., ImageSource]


def entry_of(cache_dir: Path) -> Path:
    (entry,) = [path for path in cache_dir.iterdir() if path.is_dir()]
    return entry


def test_returns_what_the_source_read_and_reads_it_once(counting_source: MakeSource, tmp_path: Path) -> None:
    source = counting_source()
    first = cached_arrays(source, "train", tmp_path)
    second = cached_arrays(source, "train", tmp_path)
    images, labels = source.read("train")
    for cached in (first, second):
        np.testing.assert_array_equal(cached.images, images)
        np.testing.assert_array_equal(cached.labels, labels)
    assert source.reads == 2, "one read by the cache, one by this test"  # type: ignore[attr-defined]
    assert isinstance(second.images, np.memmap) and not second.images.flags.writeable
    assert first.fingerprint == second.fingerprint


def test_split_size_and_contents_make_different_entries(counting_source: MakeSource, tmp_path: Path) -> None:
    fingerprints = {
        cached_arrays(counting_source(**settings), split, tmp_path).fingerprint
        for settings in ({}, {"image_size": 3}, {"train": 40, "test": 30})
        for split in ("train", "test")
    }
    assert len(fingerprints) == 6
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 6


def test_fingerprint_is_of_the_contents_not_of_the_files(counting_source: MakeSource, tmp_path: Path) -> None:
    class Repacked(type(counting_source())):  # type: ignore[misc]
        def fingerprint(self, split: Split) -> str:
            return "the same images in another kind of file"

    plain = cached_arrays(counting_source(), "test", tmp_path)
    repacked = cached_arrays(Repacked(), "test", tmp_path)
    assert plain.fingerprint == repacked.fingerprint
    assert plain.images.filename != repacked.images.filename  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncate", "remove", "empty"])
def test_a_damaged_entry_is_rebuilt(counting_source: MakeSource, tmp_path: Path, name: str, damage: str) -> None:
    source = counting_source()
    before = cached_arrays(source, "train", tmp_path)
    path = entry_of(tmp_path) / name
    if damage == "remove":
        path.unlink()
    else:
        os.truncate(path, 0 if damage == "empty" else path.stat().st_size // 2)
    after = cached_arrays(source, "train", tmp_path)
    assert source.reads == 2  # type: ignore[attr-defined]
    assert after.fingerprint == before.fingerprint
    np.testing.assert_array_equal(after.images, source.read("train")[0])


class _SlowSource(ImageSource):
    """Appends a line to a file at each read, and takes its time."""

    name, num_classes, image_size, channels = "slow", 1, 2, 1

    def __init__(self, log: Path, seconds: float) -> None:
        self._log, self._seconds = log, seconds

    def fingerprint(self, split: Split) -> str:
        return split

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        with self._log.open("a") as log:
            log.write("read\n")
        time.sleep(self._seconds)
        return np.ones((5, 1, 2, 2), dtype=np.uint8), np.arange(5)


def test_processes_that_build_at_once_read_the_source_once(tmp_path: Path) -> None:
    source = _SlowSource(tmp_path / "log", seconds=0.5)
    fork = multiprocessing.get_context("fork")
    with fork.Pool(4) as pool:
        results = pool.starmap(cached_arrays, [(source, "train", tmp_path / "cache")] * 4)
    assert len({cached.fingerprint for cached in results}) == 1
    assert (tmp_path / "log").read_text() == "read\n"


def test_a_builder_that_was_killed_blocks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _SlowSource(tmp_path / "log", seconds=0)
    cache_dir = tmp_path / "cache"

    def die(path: object, *_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=cached_arrays, args=(source, "train", cache_dir))
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", die)  # everything is written, only the last step is missing
        process.start()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    (left_over,) = [path for path in cache_dir.iterdir() if path.is_dir()]
    assert left_over.name.endswith(".building")

    assert cached_arrays(source, "train", cache_dir).images.sum() == 20
    assert not left_over.exists()


def test_no_place_to_write_says_what_to_set(counting_source: MakeSource, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match=r"cannot write the image cache in .*set paths\.cache_dir"):
        cached_arrays(counting_source(), "train", tmp_path / "file" / "cache")


def test_a_full_disk_says_what_to_set_and_leaves_nothing(
    counting_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(OSError, match=r"No space left on device.*set paths\.cache_dir") as caught:
            cached_arrays(counting_source(), "train", tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(cached_arrays(counting_source(), "train", tmp_path).labels) == 43


def test_a_source_that_breaks_its_contract_is_refused(counting_source: MakeSource, tmp_path: Path) -> None:
    class Floats(type(counting_source())):  # type: ignore[misc]
        def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
            images, labels = super().read(split)
            return images / 255, labels

    with pytest.raises(ValueError, match=r"'counting' must return images uint8 .* it returned images float64"):
        cached_arrays(Floats(), "train", tmp_path)
