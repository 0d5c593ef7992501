"""Atomic writing: a reader never sees half a file, even if the process is killed at any moment."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_lightning.temporary_folder import temporary_folder


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A path in a temporary folder beside `path`; the file written there is synced, then renamed to `path`.

    Its folder is created if absent. If the block raises, `path` is unchanged. What the block of a killed process has
    written is removed by the next one for this path.

    Raises:
        FileNotFoundError: the block wrote no file.
    """
    path = Path(path)
    try:
        with temporary_folder(path) as folder:
            # The name keeps its suffix, because many writers append their own to a name without it, and is hidden: a
            # search for files of the final name must not find it.
            temporary = folder / f".{path.name}"
            yield temporary
            sync_file(temporary)
            temporary.replace(path)
            sync_folder(path.parent)
    except OSError as error:
        if error.errno is not None:  # the system names no file when a disk is full
            error.filename = error.filename or str(path)
        raise


def check_new(path: str | Path) -> None:
    """Raises FileExistsError if there is a file of this name, or a folder that is not empty."""
    path = Path(path)
    if path.is_dir() and any(path.iterdir()):
        raise FileExistsError(f"the folder {path} is not empty, and nothing is written into it: name another one")
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file: name another one")


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A folder in a temporary one beside `path`; what the block writes there is synced, then it is renamed to `path`.

    Folders above it are created if absent. If the block raises, `path` is as before.

    Raises:
        FileExistsError: there is something at `path` other than an empty folder.
    """
    path = Path(path).resolve()
    check_new(path)
    with temporary_folder(path) as folder:
        temporary = folder / f".{path.name}"
        temporary.mkdir()
        yield temporary
        for written in temporary.rglob("*"):
            if written.is_dir():
                sync_folder(written)
            else:
                sync_file(written)
        sync_folder(temporary)
        check_new(path)
        temporary.replace(path)  # the system replaces an empty folder, and refuses any other
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Syncs a file, so that its content survives a power failure."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Syncs a folder, so that files created or renamed in it survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Writes plain values as indented JSON atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_arrays(path: str | Path, **arrays: np.ndarray) -> None:
    """Writes a compressed `.npz` atomically."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]  # the stub mistakes names for options
