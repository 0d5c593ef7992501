"""Reading and writing checkpoints."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH

from ddpm_lightning.atomic_files import atomic_path

CONFIG_KEY = "ddpm_lightning_config"
"""Where a checkpoint holds the resolved config of its run, as plain dicts."""
IMAGES_KEY = "ddpm_lightning_images"
"""Where a checkpoint says what its images are: {"shape": [C, H, W], "num_classes": K}; the first ones did not."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary file in the same folder, syncs and renames; reads without executing anything."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any = None) -> None:
        with atomic_path(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self,
        path: _PATH,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        return read_checkpoint(path)


def read_checkpoint(path: _PATH) -> dict[str, Any]:
    """A checkpoint of this project, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, not a checkpoint of this project, or holds anything but tensors and plain
            values (a pickle may run code when it is loaded, so such a file is refused unread).
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged or no checkpoint: it is not an archive as torch writes them")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it holds more than tensors and plain values, and loading it could run code. "
            "Checkpoints of ddpm-lightning never do; take one from a run's folder `checkpoints/`"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path} is damaged or no checkpoint: {error}") from error
    if not isinstance(checkpoint, dict) or CONFIG_KEY not in checkpoint:
        raise ValueError(
            f"{path} is not a checkpoint of ddpm-lightning: it holds no config. Take `checkpoints/last.ckpt` or "
            "`checkpoints/best.ckpt` of a run's folder"
        )
    return checkpoint
