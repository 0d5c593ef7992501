"""What a killed process leaves is removed by the next one, and never what a living process is writing."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ddpm_lightning import temporary_folder as module
from ddpm_lightning.atomic_files import atomic_path, new_folder, write_text
from ddpm_lightning.temporary_folder import remove_leftovers, temporary_folder

WRITER = """
import sys
from pathlib import Path
from ddpm_lightning.atomic_files import {kind}
with {kind}(Path(sys.argv[1])) as temporary:
    ({half}).write_bytes(b"half")
    print("writing", flush=True)
    sys.stdin.read()
"""
HALVES = {"atomic_path": "temporary", "new_folder": "temporary / 'a file'"}


@pytest.fixture
def start_writer() -> Iterator[Callable[[Path, str], "subprocess.Popen[str]"]]:
    """`start_writer(path, "atomic_path")`: a process that is in the middle of writing `path`."""
    processes = []

    def start(path: Path, kind: str = "atomic_path") -> "subprocess.Popen[str]":
        program = WRITER.format(kind=kind, half=HALVES[kind])
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "writing\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def killed(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", HALVES)
def test_the_next_write_removes_what_a_kill_left(tmp_path, start_writer, kind):
    killed(start_writer(tmp_path / "name[1].txt", kind))
    assert len(names(tmp_path)) == 1
    write_text(tmp_path / "name[1].txt", "whole")
    assert names(tmp_path) == ["name[1].txt"]


def test_a_write_leaves_alone_what_another_one_is_writing(tmp_path, start_writer):
    path = tmp_path / "file.txt"
    other = start_writer(path)
    write_text(path, "mine")
    remove_leftovers(tmp_path)
    assert len(names(tmp_path)) == 2
    other.communicate("")
    assert other.returncode == 0
    assert path.read_bytes() == b"half"
    assert names(tmp_path) == ["file.txt"]


def test_what_other_paths_left_is_removed_at_any_depth(tmp_path, start_writer):
    for path in (tmp_path / "a.txt", tmp_path / "below" / "b.txt", tmp_path / "below" / "c"):
        killed(start_writer(path))
    (tmp_path / ".mine.0123abcd").mkdir()
    (tmp_path / ".mine.0123abcd" / "precious").touch()
    (tmp_path / ".file.0123abcd").touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".file.0123abcd", ".mine.0123abcd", "below"]
    assert names(tmp_path / "below") == []


def test_a_kill_before_the_lock_leaves_nothing_either(tmp_path):
    (tmp_path / ".file.txt.0123abcd").mkdir()
    write_text(tmp_path / "file.txt", "whole")
    assert names(tmp_path) == ["file.txt"]


def test_a_folder_that_is_removed_before_its_lock_is_made_anew(tmp_path, monkeypatch):
    lock, taken = module._try_lock, []

    def taken_once(descriptor: int) -> bool | None:
        if not taken:
            taken.append(descriptor)
            remove_leftovers(tmp_path)
        return lock(descriptor)

    monkeypatch.setattr(module, "_try_lock", taken_once)
    write_text(tmp_path / "file.txt", "whole")
    assert taken
    assert names(tmp_path) == ["file.txt"]


def test_without_locks_files_are_written_and_none_is_removed(tmp_path, start_writer, monkeypatch):
    killed(start_writer(tmp_path / "file.txt"))
    (left,) = names(tmp_path)

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(module.fcntl, "flock", no_locks)
    write_text(tmp_path / "file.txt", "whole")
    assert (tmp_path / "file.txt").read_text() == "whole"
    assert names(tmp_path) == [left, "file.txt"]


def test_many_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    program = """
import sys
from ddpm_lightning.atomic_files import write_text
for _ in range(200):
    write_text(sys.argv[1], sys.argv[2])
"""
    path = tmp_path / "file.txt"
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), word]) for word in ("one", "two", "three")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert names(tmp_path) == ["file.txt"]
    assert path.read_text() in ("one", "two", "three")


def test_the_folder_is_gone_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), temporary_folder(tmp_path / "work") as folder:
        (folder / "file").touch()
        raise RuntimeError
    assert names(tmp_path) == []


def test_a_file_and_a_folder_keep_their_own_names(tmp_path):
    with atomic_path(tmp_path / "lock") as temporary:
        np.save(temporary.open("wb"), np.arange(3))
    with new_folder(tmp_path / "folder") as temporary:
        (temporary / "lock").touch()
    assert names(tmp_path) == ["folder", "lock"]


def test_a_folder_of_another_machine_stays(tmp_path: Path) -> None:
    """Where locks are known to one machine alone, its lock looks as if nobody held it."""
    theirs = tmp_path / ".file.0123abcd"
    theirs.mkdir()
    (theirs / "lock-another-machine").touch()
    with temporary_folder(tmp_path / "file"):
        remove_leftovers(tmp_path)
    assert theirs.is_dir()
