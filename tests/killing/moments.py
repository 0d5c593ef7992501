"""The kinds of moments at which a command is killed."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from killing.commands import Started
from killing.place import Place


class Lengths(NamedTuple):
    """How long parts of an undisturbed sweep take, in seconds."""

    whole: float
    scoring: float
    report: float


class Watched(NamedTuple):
    """A command that is running, and what a kind of moment needs to wait for its own."""

    place: Place
    started: Started
    lengths: Lengths
    dice: random.Random

    def comes(self, true: Callable[[], bool], at_most: float) -> bool:
        """Waits until something is true, and up to `at_most` seconds more; False if the command ends before."""
        while not true():
            if self.started.code() is not None:
                return False
            time.sleep(0.0005)
        time.sleep(self.dice.uniform(0, at_most))
        return self.started.code() is None


Moment = Callable[[Watched], bool]
"""Waits for the moment; False if the command has ended before."""


def anywhere(watched: Watched) -> bool:
    """At any time of the first third of the command, its start included."""
    return watched.comes(lambda: True, watched.lengths.whole / 3)


def in_training(watched: Watched) -> bool:
    """At an optimizer step or between two, validations and pictures included."""
    before, steps = len(watched.place.beats()), watched.dice.randint(1, 12)
    return watched.comes(lambda: len(watched.place.beats()) >= before + steps, 0.1)


def in_a_checkpoint(watched: Watched) -> bool:
    """While a checkpoint is written."""
    return watched.comes(_appearances(watched, watched.place.sweep, "*/checkpoints/.*"), 0.005)


def in_the_cache(watched: Watched) -> bool:
    """While the images or the features of real images are written to the cache."""
    return watched.comes(_appearances(watched, watched.place.cache, ".*.????????"), 0.005)


def in_scoring(watched: Watched) -> bool:
    """While the final samples are drawn and scored, and the results written."""
    before = _tests(watched.place)
    return watched.comes(lambda: _tests(watched.place) > before, watched.lengths.scoring)


def between_jobs(watched: Watched) -> bool:
    """After the end of a job, while the next one begins."""
    before = watched.place.done_jobs()
    return watched.comes(lambda: watched.place.done_jobs() > before, 0.3)


def in_the_report(watched: Watched) -> bool:
    """While the report of the sweep is written."""
    return watched.comes(_appearances(watched, watched.place.sweep, "report/.*"), watched.lengths.report / 2)


MOMENTS: dict[str, Moment] = {
    "cache building": in_the_cache,
    "training": in_training,
    "any time": anywhere,
    "checkpoint writing": in_a_checkpoint,
    "scoring": in_scoring,
    "between jobs": between_jobs,
    "reporting": in_the_report,
}
"""By name, in the order in which a sweep comes to them."""


def _tests(place: Place) -> int:
    return sum(beat.event == "test" for beat in place.beats())


def _appearances(watched: Watched, folder: Path, pattern: str) -> Callable[[], bool]:
    """Whether, since this call, as many temporary folders have appeared as the dice say."""
    wanted, seen = watched.dice.randint(1, 3), set(folder.glob(pattern))
    ahead = len(seen) + wanted

    def enough() -> bool:
        seen.update(folder.glob(pattern))
        return len(seen) >= ahead

    return enough


def life(dice: random.Random) -> Iterator[str]:
    """The kinds of moments in the order in which a sweep of two jobs comes to them, for one sweep."""
    yield from ("cache building", "training", "checkpoint writing", "any time", "scoring", "between jobs")
    yield from dice.sample(["training", "checkpoint writing", "cache building"], 3)
    yield from ("any time", "scoring", "reporting", "reporting")
