"""Lightning's plugin for checkpoints."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH

from ddpm_lightning.archives import check_checksums
from ddpm_lightning.atomic_files import atomic_path
from ddpm_lightning.training.checkpoint import read_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint I/O: writes to a temporary file, verifies and syncs it, and renames; reads without running code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Args:
            checkpoint: plain values and tensors.
            path: of the file.
            storage_options: a path under which the file that is replaced, if there is one, is kept; it replaces what is
                there.

        Raises:
            OSError: it cannot be written, or is not read back as it was written; both files are as before.
        """
        with atomic_path(path) as temporary:
            _write(checkpoint, temporary)
            _verify(temporary, Path(path))
            if storage_options is not None and Path(path).is_file():
                _link(Path(path), Path(storage_options))

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
    try:
        check_checksums(written)
    except ValueError as error:
        raise OSError(
            f"what was written for {path} is not what is read back ({error}): is the disk faulty? Earlier checkpoints "
            "are unchanged"
        ) from error


def _link(old: Path, new: Path) -> None:
    """Gives a file a second name, or a copy where the file system has no links."""
    with atomic_path(new) as temporary:
        try:
            temporary.hardlink_to(old)
        except OSError:
            shutil.copyfile(old, temporary)
