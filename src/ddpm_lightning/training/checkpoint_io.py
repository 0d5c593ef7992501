"""Lightning's plugin for checkpoints."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH

from ddpm_lightning.archives import check_checksums
from ddpm_lightning.atomic_files import atomic_path
from ddpm_lightning.training.checkpoint import read_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint I/O: writes to a temporary file, syncs and verifies it, and renames; reads without running code.

    Args:
        kept: name of a file -> name beside it under which what it replaces is kept.
    """

    def __init__(self, kept: Mapping[str, str] | None = None) -> None:
        self.kept = kept or {}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any = None) -> None:
        """Writes a checkpoint of plain values and tensors.

        Raises:
            OSError: it cannot be written, or is not read back as it was written; all files are as before.
        """
        path = Path(path)
        with atomic_path(path) as temporary:
            _write(checkpoint, temporary)
            _verify(temporary, path)
            if path.name in self.kept and path.is_file():
                _link(path, path.with_name(self.kept[path.name]))

    def load_checkpoint(
        self,
        path: _PATH,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        return read_checkpoint(path)


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    try:
        with path.open("wb") as file:
            torch.save(checkpoint, file)
    except RuntimeError as error:  # torch's own follows any of the file
        raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def _verify(written: Path, path: Path) -> None:
    _read_from_disk_next(written)
    try:
        check_checksums(written)
    except ValueError as error:
        raise OSError(
            f"what was written for {path} is not what is read back ({error}): is the disk faulty? Earlier checkpoints "
            "are unchanged"
        ) from error


def _read_from_disk_next(path: Path) -> None:
    """Syncs a file and drops it from the system's cache, so that it is read back from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _link(old: Path, new: Path) -> None:
    """Gives a file a second name, or a copy where the file system has no links."""
    with atomic_path(new) as temporary:
        try:
            temporary.hardlink_to(old)
        except OSError:
            shutil.copyfile(old, temporary)
