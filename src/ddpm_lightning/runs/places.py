"""Where the paths of a config out of a file may lead: to the places that the user gave with this command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_lightning.runs.stored_values import RefusedError, walk

if TYPE_CHECKING:
    from omegaconf import DictConfig

RECORDS = ("hydra", "checkpoint", "resume", "name", "experiment_name", "trust", "paths.output_dir")
"""Options of a stored config that are texts about an earlier command; nobody opens a file by them."""
LOG_OF_WANDB = "wandb/*run-*/logs/debug-core.log"
"""A link that W&B makes to a log of its own; nothing is written there when a run is resumed."""

Says = Callable[[str, str], bool]
"""Whether the user's own command gives an option this value."""


def said_by(command: DictConfig) -> Says:
    """Whether a command gives an option a value, by the config that Hydra composed; not mixed with one of a file."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    own = command.copy()

    def says(option: str, value: str) -> bool:
        try:
            given = OmegaConf.select(own, option)
        except OmegaConfBaseException:  # it refers to what only the file has
            return False
        return given == value or (OmegaConf.is_list(given) and value in given)

    return says


def resolved_values(config: DictConfig) -> dict[str, Any]:
    """A config as plain values without references."""
    from omegaconf import OmegaConf

    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def check_places(
    config: Mapping[str, Any],
    origin: str | Path,
    places: Sequence[str | Path] = (),
    says: Says = lambda option, value: False,
) -> None:
    """Checks every text of a resolved config that could be a path, whatever its option is called.

    A relative path without `..` stays below the working directory or the run's folder. An absolute one, or one that
    goes up, and every folder (an option that ends with `dir`) has to be in a place that the command gives.

    Args:
        config: plain values without references.
        origin: file or folder that it comes from, for the message.
        places: folders that the command gives, and the run's own.
        says: whether this command's own words give an option this value, which may then lead anywhere.

    Raises:
        RefusedError: one leads elsewhere; the message says what to type.
    """
    allowed = [Path(place).expanduser().resolve() for place in places]
    texts = {option: value for option, value in walk(config, origin) if isinstance(value, str)}
    leading_out = {
        option: value
        for option, value in texts.items()
        if not {option, option.partition(".")[0]} & {*RECORDS}
        and _leaves(option, value)
        and not _is_in(value, allowed)
        and not says(option, value)
    }
    if leading_out:
        (option, value), *_ = leading_out.items()
        again = " ".join(f"{option}={value}" for option, value in leading_out.items())
        raise RefusedError(
            f"{origin} is refused: its option {option} leads to {value!r}, which is in no folder that this command "
            f"gives. If the file is yours, type it again: {again} (images of your own: in paths.data_dir)"
        )


def check_links(folder: Path, places: Sequence[str | Path] = ()) -> None:
    """Checks that what is written below a run's folder stays there.

    Raises:
        RefusedError: a link in the folder leads to what is neither in it nor in one of the places.
    """
    allowed = [Path(place).expanduser().resolve() for place in (folder, *places)]
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.relative_to(folder).match(LOG_OF_WANDB) and not _is_in(str(path), allowed):
            raise RefusedError(
                f"{folder} is refused: its {path.relative_to(folder)} is a link to {path.resolve()}, outside the run's "
                "folder. Replace the link by what it leads to"
            )


def _leaves(option: str, value: str) -> bool:
    """Whether a text is a path that may lead out of the working directory, an address, or a folder."""
    parts = value.replace("\\", "/").split("/")
    return (
        option.endswith("dir") or ".." in parts or value.startswith(("/", "~", "\\")) or "://" in value or "\0" in value
    )


def _is_in(value: str, places: Sequence[Path]) -> bool:
    if "\0" in value or "://" in value:
        return False
    try:
        path = Path(value).expanduser().resolve()
    except (OSError, RuntimeError):  # links in a circle, or a user who does not exist
        return False
    return any(path.is_relative_to(place) for place in places)
