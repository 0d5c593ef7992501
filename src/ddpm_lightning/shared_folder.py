"""Folders that several users share: what is written there is as accessible as the folder, whatever the umask says."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


def share(path: Path, folder: Path) -> None:
    """Makes a file, or a folder with the files in it, readable for whoever can read `folder`, in which it will be."""
    readers = stat.S_IMODE(folder.stat().st_mode) & 0o055
    for shared in (path, *path.rglob("*")):
        executable = 0 if shared.is_file() else 0o011
        _allow(shared, readers & (0o044 | executable))


@contextmanager
def shared_lock(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds an advisory lock that everybody who may write into its folder can take.

    The system releases it when the process ends, however it ends.

    Args:
        path: the lock's file. It stays; its folder is created if absent.
        on_wait: called once if another process holds the lock.

    Raises:
        OSError: the file cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        writers = stat.S_IMODE(path.parent.stat().st_mode) & 0o022
        _allow(path, writers | writers << 1)
        yield
    finally:
        lock.release()


@contextmanager
def writing(what: str, remedy: str) -> Iterator[None]:
    """Explains an OSError of the block: "cannot write WHAT (reason): REMEDY", with the same errno."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"cannot write {what} ({error.strerror or error}): {remedy}") from error


def _allow(path: Path, permissions: int) -> None:
    """Adds permissions; those of another user's file are that user's to set."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode | permissions != mode:
        with suppress(PermissionError):
            os.chmod(path, mode | permissions)
