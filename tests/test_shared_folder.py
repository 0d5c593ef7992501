"""What is written into a folder is as accessible as the folder, under any umask."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from ddpm_lightning.shared_folder import share, shared_lock


@pytest.fixture(autouse=True)
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("folder", "file", "below"),
    [(0o700, 0o600, 0o700), (0o750, 0o640, 0o750), (0o775, 0o644, 0o755), (0o1777, 0o644, 0o755)],
    ids=oct,
)
def test_files_have_the_readers_of_their_folder(tmp_path: Path, folder: int, file: int, below: int) -> None:
    tmp_path.chmod(folder)
    entry = tmp_path / "entry"
    entry.mkdir()
    (entry / "array").write_text("numbers")
    share(entry, entry.parent)
    assert (mode(entry), mode(entry / "array")) == (below, file)


@pytest.mark.parametrize(("folder", "lock"), [(0o700, 0o600), (0o755, 0o600), (0o775, 0o660), (0o777, 0o666)], ids=oct)
def test_whoever_may_write_may_lock(tmp_path: Path, folder: int, lock: int) -> None:
    tmp_path.chmod(folder)
    with shared_lock(tmp_path / ".lock"):
        assert mode(tmp_path / ".lock") == lock


def test_a_lock_waits_for_its_holder_and_says_so(tmp_path: Path) -> None:
    held = FileLock(tmp_path / ".lock")
    held.acquire()
    waits = []

    def on_wait() -> None:
        waits.append(1)
        held.release()

    with shared_lock(tmp_path / ".lock", on_wait):
        pass
    assert waits == [1]


def test_a_file_of_another_user_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o777)
    (tmp_path / ".lock").touch(0o600)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    with shared_lock(tmp_path / ".lock"):
        assert mode(tmp_path / ".lock") == 0o600
