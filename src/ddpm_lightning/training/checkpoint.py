"""Reading checkpoints, without Lightning."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from ddpm_lightning.archives import check_declared_sizes

CONFIG_KEY = "ddpm_lightning_config"
"""Key of the run's resolved config in a checkpoint, as plain dicts."""
IMAGES_KEY = "ddpm_lightning_images"
"""Key of the images' properties, {"shape": [C, H, W], "num_classes": K}; the oldest checkpoints lack it."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
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
        check_declared_sizes(path)
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged or not a checkpoint: {error}") from error
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
