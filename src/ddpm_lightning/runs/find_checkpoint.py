"""The checkpoint that a user means by a path."""

import os
from pathlib import Path

LAST_CHECKPOINT = Path("checkpoints", "last.ckpt")
"""The newest state of a run, within its folder."""
PREVIOUS_CHECKPOINT = Path("checkpoints", "previous.ckpt")
"""The state that it has replaced."""
EXPORT_CONFIG, EXPORT_WEIGHTS = "config.json", "model.safetensors"
"""The two files of an exported model."""


def is_exported(path: str | Path) -> bool:
    """Whether a path is the folder of an exported model, or of what is left of one."""
    return any((Path(path) / name).is_file() for name in (EXPORT_CONFIG, EXPORT_WEIGHTS))


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint that a path means: a file itself, or a run folder's last one.

    Raises:
        FileNotFoundError: if there is none; says what the folder holds.
    """
    path = Path(path)
    if not os.path.exists(path):  # unlike Path.exists, for a name of any length
        raise FileNotFoundError(f"there is no checkpoint or run folder {path}")
    if is_exported(path):
        raise FileNotFoundError(
            f"{path} is an exported model, which only ddpm_lightning.load opens: name the run that it was made from"
        )
    if path.is_file():
        return path
    if path.is_dir():
        last = path / LAST_CHECKPOINT
        if last.is_file():
            return last
        # Leading dot: an interrupted write.
        found = sorted(str(p.relative_to(path)) for p in path.rglob("*.ckpt") if not p.name.startswith("."))
        hint = f"it holds {', '.join(found[:5])}: name one of these" if found else "it holds no checkpoint"
        raise FileNotFoundError(f"{path} is not the folder of a run with checkpoints/last.ckpt: {hint}")
    raise FileNotFoundError(f"there is no checkpoint or run folder {path}")
