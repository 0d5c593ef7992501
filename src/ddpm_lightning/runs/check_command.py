"""The check of a command before a folder is made for it."""

from pathlib import Path

from omegaconf import DictConfig

from ddpm_lightning.runs.option_types import with_right_types


def check_command(config: DictConfig) -> None:
    """Raises ValueError if the value of an option of a command is not possible."""
    options = with_right_types(config)
    for option in options.get("paths", ()):
        _check_place(f"paths.{option}", options.paths[option])
    if not isinstance(checkpoint := config.get("checkpoint", ""), str):
        shown = "null" if checkpoint is None else "a section or a list"
        raise ValueError(f"checkpoint must be the path of a run or of a checkpoint, not {shown}")


def _check_place(option: str, folder: str) -> None:
    """Raises ValueError if a folder that a command names is a file, or a link to itself."""
    try:
        Path(folder).resolve(strict=False)
        is_file = Path(folder).is_file()
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{option}={folder} is not a usable path ({error}): name a folder") from error
    if is_file:
        raise ValueError(f"{option}={folder} is a file: name a folder")
