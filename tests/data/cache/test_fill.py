"""A build that is cut short, at any moment and in any way, goes on where it stopped."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from ddpm_lightning.data.cache.fill import fill


@pytest.fixture
def array(tmp_path):
    """`array(size)`: a file for the counting source's images."""

    def make(size):
        images = np.lib.format.open_memmap(tmp_path / "images.npy", mode="w+", dtype=np.uint8, shape=(size, 1, 2, 2))
        images.flush()
        return tmp_path / "images.npy"

    return make


def test_every_image_is_read_once_and_none_again(counting_source, array, tmp_path):
    source, path = counting_source(train=600, test=1), array(601)
    for _ in range(2):
        assert fill(source, path, tmp_path / "journal") == {}
        np.testing.assert_array_equal(np.load(path)[:, 0, 0, 0], np.arange(601).astype(np.uint8))
    assert source.reads == 3, "chunks of 256, 256 and 89 images"


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_half_a_line_of_the_journal_costs_its_chunk_alone(counting_source, array, tmp_path, kept):
    source, path, journal = counting_source(train=600, test=1), array(601), tmp_path / "journal"
    fill(source, path, journal)
    *whole, last = journal.read_text().splitlines(keepends=True)
    chunk = json.loads(last)[0]
    np.lib.format.open_memmap(path, mode="r+")[chunk:] = 0
    journal.write_text("".join(whole) + last[:kept])
    fill(source, path, journal)
    np.testing.assert_array_equal(np.load(path)[:, 0, 0, 0], np.arange(601).astype(np.uint8))
    assert source.reads == 4
    fill(source, path, journal)
    assert source.reads == 4, "the half line does not spoil the one that was added"


def test_damaged_images_are_remembered(counting_source, array, tmp_path):
    class Damaged(type(counting_source())):
        def read(self, rows, images):
            super().read(rows, images)
            return {row: f"image {row}" for row in (0, 255, 256, 600) if row in rows}

    source, path = Damaged(train=600, test=1), array(601)
    first = fill(source, path, tmp_path / "journal")
    assert first == {row: f"image {row}" for row in (0, 255, 256, 600)}
    assert fill(source, path, tmp_path / "journal") == first
    assert source.reads == 3


@pytest.mark.parametrize("chunk_size", [100, 128, 300, 512])
def test_chunks_of_another_size_leave_no_image_unread(counting_source, array, tmp_path, monkeypatch, chunk_size):
    source, path, journal = counting_source(train=600, test=1), array(601), tmp_path / "journal"
    fill(source, path, journal)
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:2]))  # an empty line and the first chunk
    np.lib.format.open_memmap(path, mode="r+")[256:] = 0
    monkeypatch.setattr("ddpm_lightning.data.cache.fill._CHUNK", chunk_size)
    fill(source, path, journal)
    np.testing.assert_array_equal(np.load(path)[:, 0, 0, 0], np.arange(601).astype(np.uint8))


def reads(log):
    return [int(line) for line in log.read_text().splitlines()] if log.exists() else []


def journalled(cache_dir):
    """Where the chunks begin that a build in progress has on disk."""
    journals = [*cache_dir.glob(".*.building/progress.jsonl")]
    lines = journals[0].read_text().splitlines() if journals else []
    return [json.loads(line)[0] for line in lines if line.endswith("]")]


def test_after_a_kill_the_next_build_reads_only_the_rest(start_build, tmp_path):
    cache_dir = tmp_path / "cache"
    first = start_build(cache_dir, tmp_path / "first", size=2500, seconds=0.05, cores=2)
    while len(journalled(cache_dir)) < 3 and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    done = journalled(cache_dir)
    assert 3 <= len(done) < 10
    assert not [*cache_dir.glob("number-*")], "nothing poses as whole"

    second = start_build(cache_dir, tmp_path / "second", size=2500)
    _, errors = second.communicate()
    assert second.returncode == 0, errors
    assert sorted(reads(tmp_path / "second")) == sorted(set(range(0, 2500, 256)) - set(done))
    assert len([*cache_dir.glob("number-*/images.npy")]) == 1
    assert not [*cache_dir.glob(".*.building")]


@pytest.mark.slow
def test_a_killed_reading_process_is_told_as_want_of_memory(start_build, tmp_path):
    build = start_build(tmp_path / "cache", tmp_path / "log", size=2500, dies_at=1024, cores=2)
    _, errors = build.communicate()
    assert build.returncode == 1
    assert "MemoryError: a process that was reading number was killed: is there enough memory?" in errors
    assert not [*(tmp_path / "cache").glob("number-*")]


@pytest.mark.slow
def test_reading_processes_end_with_the_one_that_started_them(start_build, tmp_path):
    build = start_build(tmp_path / "cache", tmp_path / "log", size=256 * 100, seconds=0.3, cores=2)
    while len(reads(tmp_path / "log")) < 3:
        time.sleep(0.02)
    children = Path(f"/proc/{build.pid}/task/{build.pid}/children").read_text().split()
    assert len(children) >= 2
    build.kill()
    build.wait()
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}") for pid in children):
        assert time.monotonic() < deadline, "they read on"
        time.sleep(0.1)
