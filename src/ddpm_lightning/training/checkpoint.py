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
"""Key of the run's resolved config in a checkpoint, as plain dicts."""
IMAGES_KEY = "ddpm_lightning_images"
"""Key of the images' properties, {"shape": [C, H, W], "num_classes": K}; the oldest checkpoints lack it."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint I/O: writes to a temporary file in the same folder, syncs and renames; reads without running code."""

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
    """Reads a checkpoint of this project onto the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, not a checkpoint of this project, or holds anything but tensors and plain
            values (a pickle may run code when it is loaded, so such a file is refused unread).
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged or not a checkpoint: it is not an archive written by torch")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it holds more than tensors and plain values, and loading it could run code. "
            "Checkpoints of ddpm-lightning never do; use one from the `checkpoints` folder of a run"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path} is damaged or not a checkpoint: {error}") from error
    if not isinstance(checkpoint, dict) or CONFIG_KEY not in checkpoint:
        raise ValueError(
            f"{path} is not a checkpoint of ddpm-lightning: it holds no config. Use `checkpoints/last.ckpt` or "
            "`checkpoints/best.ckpt` in a run's folder"
        )
    return checkpoint
