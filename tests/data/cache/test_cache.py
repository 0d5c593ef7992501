"""The cache holds the source's images, is built once, and is rebuilt when it is incomplete."""

import json
import logging
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import numpy as np
import pytest
from filelock import FileLock

from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.sources.source import DataFileError


def entries(cache_dir):
    return [path for path in cache_dir.iterdir() if path.is_dir() and path.name[0] != "."]


def test_returns_what_the_source_reads_and_reads_it_once(counting_source, tmp_path):
    source = counting_source()
    first, second = (cached_images(source, tmp_path) for _ in range(2))
    for cached in (first, second):
        np.testing.assert_array_equal(cached.images, np.broadcast_to(np.arange(63)[:, None, None, None], (63, 1, 2, 2)))
        np.testing.assert_array_equal(cached.labels, np.arange(63))
        np.testing.assert_array_equal(cached.readable, np.arange(63))
    assert source.reads == 1
    assert isinstance(second.images, np.memmap) and not second.images.flags.writeable
    assert first.fingerprint == second.fingerprint
    assert {path.name for path in entries(tmp_path)[0].iterdir()} == {
        "images.npy",
        "labels.npy",
        "manifest.json",
        "damaged.txt",
    }


def test_the_manifest_says_what_the_entry_was_made_from(counting_source, tmp_path):
    cached = cached_images(counting_source(), tmp_path)
    manifest = json.loads((cached.path.parent / "manifest.json").read_text())
    made_from = {"source": "counting", "files": "43 63", "transform": "none", "image_shape": [1, 2, 2]}
    assert manifest.items() >= made_from.items()
    assert manifest["versions"]["pillow"] == version("pillow")


def test_size_files_and_transform_make_entries_of_their_own(counting_source, tmp_path):
    first = cached_images(counting_source(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.path.parent.iterdir()}
    changed = counting_source()
    changed.transform = "another"
    prints = {
        cached_images(source, tmp_path).fingerprint
        for source in (counting_source(image_size=3), counting_source(train=50))
    }
    assert cached_images(changed, tmp_path).fingerprint == first.fingerprint, "it gave the same images"
    assert len(prints | {first.fingerprint}) == 3
    assert len(entries(tmp_path)) == 4
    assert {path: path.stat().st_mtime_ns for path in first.path.parent.iterdir()} == before


def test_fingerprint_is_of_the_contents(counting_source, tmp_path):
    class Other(type(counting_source())):
        change = ""

        def fingerprint(self):
            return self.change

        def labels(self):
            return super().labels() + (self.change == "labels")

        def read(self, rows, images):
            super().read(rows, images)
            images[0] += self.change == "images"
            return {7: "damaged"} if self.change == "damaged" else {}

    def fingerprint(change):
        source = Other()
        source.change, source.skip_damaged = change, True
        return cached_images(source, tmp_path).fingerprint

    assert (
        fingerprint("the same images in another kind of file") == cached_images(counting_source(), tmp_path).fingerprint
    )
    assert len({fingerprint(change) for change in ("", "labels", "images", "damaged")}) == 4


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncate", "remove", "empty"])
def test_a_damaged_entry_is_rebuilt(counting_source, tmp_path, name, damage):
    source = counting_source()
    before = cached_images(source, tmp_path)
    path = entries(tmp_path)[0] / name
    if damage == "remove":
        path.unlink()
    else:
        os.truncate(path, 0 if damage == "empty" else path.stat().st_size // 2)
    after = cached_images(source, tmp_path)
    assert source.reads == 2
    assert after.fingerprint == before.fingerprint
    np.testing.assert_array_equal(after.images[:, 0, 0, 0], np.arange(63))


def test_an_entry_without_its_report_is_rebuilt(counting_source, tmp_path):
    source = counting_source()
    (cached_images(source, tmp_path).path.parent / "damaged.txt").unlink()
    cached_images(source, tmp_path)
    assert source.reads == 2


def test_a_build_that_waits_for_another_says_so(counting_source, tmp_path, caplog):
    source = counting_source()
    entry = cached_images(source, tmp_path).path.parent
    shutil.rmtree(entry)
    with caplog.at_level(logging.INFO), ThreadPoolExecutor(1) as pool:
        with FileLock(tmp_path / f".{entry.name}.lock"):  # as the process that builds holds it
            waiting = pool.submit(cached_images, source, tmp_path)
            deadline = time.monotonic() + 20
            while not caplog.messages and time.monotonic() < deadline:
                time.sleep(0.01)
            assert f"waiting for the process that builds the image cache {entry}" in caplog.messages
            assert source.reads == 1
        assert len(waiting.result().labels) == 63
    assert source.reads == 2


def test_processes_that_build_at_once_read_each_chunk_once(start_build, tmp_path):
    builds = [start_build(tmp_path / "cache", tmp_path / "log", size=400, seconds=0.3) for _ in range(2)]
    outputs = [build.communicate() for build in builds]
    assert [build.returncode for build in builds] == [0, 0], outputs
    assert len({fingerprint for fingerprint, _ in outputs}) == 1
    assert [int(line) for line in (tmp_path / "log").read_text().split()] == list(range(0, 400, 64))
    assert len(entries(tmp_path / "cache")) == 1


def test_a_source_that_breaks_its_contract_is_refused(counting_source, tmp_path):
    class Floats(type(counting_source())):
        def labels(self):
            return super().labels() / 2

    with pytest.raises(
        ValueError, match=r"'counting' must have labels int64 \(N,\), N at least 1, not float64 \(63,\)"
    ):
        cached_images(Floats(), tmp_path)
    with pytest.raises(ValueError, match=r"not int64 \(0,\)"):
        cached_images(counting_source(train=0, test=0), tmp_path)


def test_missing_files_are_not_reported_as_an_error_of_the_cache(counting_source, tmp_path):
    class Missing(type(counting_source())):
        def read(self, rows, images):
            raise DataFileError("images.gz is missing")

    with pytest.raises(DataFileError, match=r"^images\.gz is missing$"):
        cached_images(Missing(), tmp_path)
