"""The length of a training: its two limits, of which the one that a user sets replaces the one that nobody has set."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from ddpm_lightning.runs.identity import Changed
from ddpm_lightning.runs.ranks import global_rank, is_own_rank

log = logging.getLogger(__name__)
LIMITS = ("max_steps", "max_epochs")
"""Options of `trainer` that end the training; the first that is reached does."""
NO_LIMIT = -1


class Trained(NamedTuple):
    """How far a run has trained.

    Attributes:
        steps: optimizer steps.
        epochs: epochs that have begun.
    """

    steps: int
    epochs: int

    @classmethod
    def until(cls, checkpoint_file: Path) -> "Trained":
        """The progress that a checkpoint of a training holds.

        Raises:
            ValueError: it is damaged.
        """
        from ddpm_lightning.training.checkpoint import read_checkpoint  # torch is not needed to compose a config

        checkpoint = read_checkpoint(checkpoint_file)
        epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"]
        return cls(checkpoint["global_step"], epochs)


def is_limit(value: Any) -> bool:
    """Whether the value of an option in `LIMITS` ends a training."""
    return isinstance(value, int | float) and value >= 0


def replace_default_limit(trainer: DictConfig, changed: Changed, given: Collection[str]) -> None:
    """Lifts the default of `max_steps`, in place, where only `max_epochs` is set.

    Args:
        trainer: the section of a composed config.
        changed: the options that differ from the defaults.
        given: the options on the command line.
    """
    stays = "trainer.max_steps" in changed.in_verb or "trainer.max_steps" in given
    if is_limit(trainer.get("max_epochs")) and not stays:
        _report(
            "trainer.max_epochs=%s is set, so the default trainer.max_steps=%s does not apply",
            trainer.max_epochs,
            trainer.max_steps,
        )
        trainer.max_steps = NO_LIMIT
    elif all(is_limit(trainer.get(limit)) for limit in LIMITS):
        _report(
            "the training ends at trainer.max_steps=%s or trainer.max_epochs=%s, whichever is reached first",
            *(trainer[limit] for limit in LIMITS),
        )


def replace_stored_limit(trainer: DictConfig, given: Collection[str]) -> None:
    """Lifts the limit that a stored config has, in place, where the command line that resumes it sets only the other.

    Args:
        trainer: the section of the stored config with what the command line says.
        given: the options on the command line.
    """
    for new, old in (LIMITS, LIMITS[::-1]):
        is_new = f"trainer.{new}" in given and is_limit(trainer[new])
        if is_new and f"trainer.{old}" not in given and is_limit(trainer.get(old)):
            _report("trainer.%s=%s replaces trainer.%s=%s of this run", new, trainer[new], old, trainer[old])
            trainer[old] = NO_LIMIT


def check_end(trainer: DictConfig) -> None:
    """Raises ValueError for a training without an end."""
    if not any(is_limit(trainer.get(limit)) for limit in LIMITS):
        raise ValueError("training needs an end: set trainer.max_steps or trainer.max_epochs")


def check_not_shortened(trainer: DictConfig, last_checkpoint: Path, done: bool) -> None:
    """Raises ValueError if a run has trained longer than its new limits allow, or cannot be continued.

    Args:
        trainer: the section with the new limits.
        last_checkpoint: of the run; none if it has not trained yet.
        done: whether the run is done.
    """
    if not last_checkpoint.is_file():
        if done:
            raise ValueError("this run is done and kept no checkpoint, so it cannot train longer: start another one")
        return
    trained = Trained.until(last_checkpoint)
    for limit, reached in zip(LIMITS, trained, strict=True):
        if is_limit(trainer.get(limit)) and trainer[limit] < reached:
            unit = limit.removeprefix("max_")
            raise ValueError(
                f"this run has trained {reached} {unit}, and cannot be shortened to trainer.{limit}={trainer[limit]}: "
                f"set at least {reached}, or leave it out"
            )


def _report(message: str, *values: Any) -> None:
    """Writes a line to the log, once for all ranks."""
    if global_rank() == 0 and not is_own_rank():
        log.info(message, *values)
