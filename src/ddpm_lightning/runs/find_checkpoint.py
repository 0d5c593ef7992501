"""The checkpoint that a user means by a path."""

from pathlib import Path

LAST_CHECKPOINT = Path("checkpoints", "last.ckpt")
"""The newest state of a run, within its folder."""


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint that a path means: a file itself, or a run folder's last one.

    Raises:
        FileNotFoundError: if there is none; says what the folder holds.
    """
    path = Path(path)
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
