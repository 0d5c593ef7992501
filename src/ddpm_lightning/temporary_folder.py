"""Hidden folders for unfinished work: if their process is killed, whoever works there next removes them."""

import glob
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows: nothing can be locked, so nothing is removed
    fcntl = None  # type: ignore[assignment]

_RANDOM_PART = "." + 8 * "[0-9a-f]"
_LOCK = f"lock-{platform.node()}"
"""One of another machine is never taken: a shared disk may know the locks of its own machine alone."""


@contextmanager
def temporary_folder(path: str | Path) -> Iterator[Path]:
    """An empty hidden folder beside `path` for the time of the block, `.NAME.` and eight random digits.

    It is removed at the end of the block. One of the same path that a killed process left is removed first; a lock,
    which the system releases with the process, shows whether a folder is in use. Where the file system has no locks,
    folders of killed processes stay; so do those of other machines. Folders above `path` are created if absent.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_unused(path.parent.glob(f".{glob.escape(path.name)}{_RANDOM_PART}"))
    folder, lock = _make_locked(path)
    try:
        yield folder
    finally:
        os.close(lock)  # first: NFS keeps a file that is open, and with it the folder
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary folders that killed processes left in a folder, at any depth."""
    _remove_unused(folder.rglob(f".*{_RANDOM_PART}"))


def _make_locked(path: Path) -> tuple[Path, int]:
    """A new temporary folder and the descriptor of its locked file."""
    while True:
        folder = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
        folder.mkdir()
        try:
            lock = os.open(folder / _LOCK, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        except FileNotFoundError:  # another process took the folder for a leftover
            continue
        if _try_lock(lock) is not False and (folder / _LOCK).exists():
            return folder, lock
        os.close(lock)  # likewise


def _remove_unused(folders: Iterable[Path]) -> None:
    for folder in list(folders):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            lock = None
        except OSError:  # not a temporary folder, or another user's
            continue
        if lock is not None:
            if _try_lock(lock):
                shutil.rmtree(folder, ignore_errors=True)  # before the lock is released: its owner may be starting
            os.close(lock)
        with suppress(OSError):
            folder.rmdir()  # only if it is empty: a kill came before the lock, or NFS kept the open lock


def _try_lock(descriptor: int) -> bool | None:
    """Whether this process could lock the file; None where files cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
