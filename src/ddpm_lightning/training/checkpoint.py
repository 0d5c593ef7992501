"""Reading checkpoints, without Lightning."""

import pickle
import shlex
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ddpm_lightning.archives import check_checksums, check_declared_sizes

CONFIG_KEY = "ddpm_lightning_config"
"""Key of the run's resolved config in a checkpoint, as plain dicts."""
IMAGES_KEY = "ddpm_lightning_images"
"""Key of the images' properties, {"shape": [C, H, W], "num_classes": K}; the oldest checkpoints lack it."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of this project onto the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: as `check_undamaged`; or the file is not a checkpoint of this project, or holds anything but tensors
            and plain values (a pickle may run code when it is loaded, so such a file is refused unread).
    """
    check_undamaged(path)
    return _content(path)


def check_undamaged(path: str | Path) -> None:
    """Checks that a checkpoint is as it was written, by the checksums that torch stores with every tensor.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it was cut or changed, or is no archive; says which other checkpoint beside it is whole.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    if damage := _damage(path):
        raise ValueError(f"{path} is damaged or not a checkpoint: {damage}{_offer(path)}")


def _damage(path: Path) -> str | None:
    """What is wrong with the archive; None if nothing is."""
    if not zipfile.is_zipfile(path):
        return "it is not an archive written by torch"
    try:
        check_declared_sizes(path)  # before anything is unpacked
        check_checksums(path)
    except (ValueError, OSError, RuntimeError, zipfile.BadZipFile) as error:
        return str(error)
    return None


def _offer(damaged: Path) -> str:
    """The newest whole checkpoint of the same run, and how to continue from it; a sentence, or nothing."""
    if damaged.parent.name != "checkpoints":
        return ""
    whole = {}
    for path in damaged.parent.glob("[!.]*.ckpt"):  # a leading dot: an interrupted write
        with suppress(ValueError):
            if path != damaged and not _damage(path):
                whole[path] = _content(path)["global_step"]
    if not whole:
        return ""
    newest = max(whole, key=lambda path: whole[path])
    offer = f". {newest}, of step {whole[newest]}, is whole"
    if damaged.name != "last.ckpt":
        return f"{offer}: name it instead"
    return (
        f"{offer}: name it, or put it in the place of the damaged one: {shlex.join(['cp', str(newest), str(damaged)])}"
    )


def _content(path: str | Path) -> dict[str, Any]:
    """What a whole archive holds, if that is a checkpoint of this project."""
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
