"""All images of a source end up in the array; an interrupted build leaves nothing harmful."""

import signal
import threading
import time

import numpy as np
import pytest

from ddpm_lightning.data.cache import fill as module
from ddpm_lightning.data.cache.fill import fill
from ddpm_lightning.data.sources.source import DataFileError


@pytest.fixture
def slow_source(counting_source, monkeypatch):
    """`slow_source(size)`: a source that is read in three threads and notes the rows that it reads."""
    monkeypatch.setenv("DDPM_LIGHTNING_THREADS", "3")

    class Slow(type(counting_source())):
        slow_to_read = True

        def __init__(self, size):
            super().__init__(train=size, test=0)
            self.rows_read, self.threads = [], set()

        def read(self, rows, images):
            self.rows_read.extend(rows)
            self.threads.add(threading.get_ident())
            return super().read(rows, images)

    return Slow


@pytest.mark.parametrize("size", [1, 63, 64, 65, 601])
def test_every_image_is_read_once(slow_source, size):
    source, images = slow_source(size), np.zeros((size, 1, 2, 2), np.uint8)
    assert fill(source, images) == {}
    np.testing.assert_array_equal(images[:, 0, 0, 0], np.arange(size).astype(np.uint8))
    assert sorted(source.rows_read) == list(range(size))


def test_several_threads_read_at_once(slow_source):
    together = threading.Barrier(3, timeout=20)

    class Waiting(slow_source):
        def read(self, rows, images):
            if rows.start < 3 * module._CHUNK:
                together.wait()
            return super().read(rows, images)

    source = Waiting(600)
    fill(source, np.zeros((600, 1, 2, 2), np.uint8))
    assert len(source.threads) == 3


def test_a_source_that_is_fast_is_read_in_one_thread(slow_source):
    source = slow_source(600)
    source.slow_to_read = False
    fill(source, np.zeros((600, 1, 2, 2), np.uint8))
    assert len(source.threads) == 1 and source.rows_read == list(range(600))


def test_damaged_images_of_all_chunks_are_returned(slow_source):
    class Damaged(slow_source):
        def read(self, rows, images):
            super().read(rows, images)
            return {row: f"image {row}" for row in (0, 255, 256, 600) if row in rows}

    assert fill(Damaged(601), np.zeros((601, 1, 2, 2), np.uint8)) == {r: f"image {r}" for r in (0, 255, 256, 600)}


def test_an_error_ends_the_reading(slow_source):
    class Broken(slow_source):
        def read(self, rows, images):
            super().read(rows, images)
            if rows.start == 0:
                raise DataFileError("archive.zip is damaged")
            time.sleep(0.02)
            return {}

    source = Broken(30_000)
    with pytest.raises(DataFileError, match=r"archive\.zip is damaged"):
        fill(source, np.zeros((30_000, 1, 2, 2), np.uint8))
    assert len(source.rows_read) < 10_000


def wait_for_reads(log, build):
    while not (log.exists() and len(log.read_text().split()) > 3) and build.poll() is None:
        time.sleep(0.01)


@pytest.mark.parametrize("cores", [1, 2])
def test_ctrl_c_ends_a_build_and_removes_its_files(start_build, tmp_path, cores):
    cache_dir = tmp_path / "cache"
    build = start_build(cache_dir, tmp_path / "log", size=100_000, seconds=0.1, cores=cores)
    wait_for_reads(tmp_path / "log", build)
    build.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, errors = build.communicate(timeout=60)
    assert time.monotonic() - begun < 5
    assert build.returncode == -signal.SIGINT and "KeyboardInterrupt" in errors
    assert not [path for path in cache_dir.iterdir() if path.is_dir()]


def test_the_next_build_removes_the_files_of_a_killed_one(start_build, tmp_path):
    cache_dir = tmp_path / "cache"
    killed = start_build(cache_dir, tmp_path / "log", size=2500, seconds=0.1, cores=2)
    wait_for_reads(tmp_path / "log", killed)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert [*cache_dir.glob(".*/number-*/images.npy")]
    assert not [*cache_dir.glob("number-*")], "nothing is taken for a whole entry"

    _, errors = (build := start_build(cache_dir, tmp_path / "again", size=2500)).communicate()
    assert build.returncode == 0, errors
    (entry,) = (path for path in cache_dir.iterdir() if path.is_dir())
    assert {path.name for path in entry.iterdir()} == {"images.npy", "labels.npy", "manifest.json", "damaged.txt"}
