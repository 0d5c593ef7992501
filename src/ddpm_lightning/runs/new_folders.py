"""The folders that a command makes around that of its run or sweep, to be removed again if it cannot begin."""

from contextlib import suppress
from pathlib import Path

_existing: Path | None = None
"""The innermost folder that was there before this command made one for its run or sweep."""


def note_existing(folder: Path, option: str) -> None:
    """Notes which folders are there already. Raises ValueError if a file is where the folder of a run should be."""
    global _existing
    _existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not _existing.is_dir():
        raise ValueError(f"{folder} cannot be made, because {_existing} is a file: choose another place with {option}")


def remove_new_parents(folder: Path) -> None:
    """Removes the folders around one that was removed, as far as they are empty and this command has made them."""
    for parent in folder.absolute().parents:
        if _existing is None or parent == _existing or not parent.is_relative_to(_existing):
            return
        with suppress(OSError):  # another command may work there by now
            parent.rmdir()
