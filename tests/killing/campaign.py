"""Sweeps that are killed again and again, and compared with one that nothing disturbs."""

import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equality import differences
from killing.beats import Beat
from killing.commands import Cold, Start, WarmServer
from killing.moments import MOMENTS, Lengths, Watched, life
from killing.outcome import outcome
from killing.place import Place, environment
from tiny_runs import write_tiny_data


@dataclass(frozen=True)
class Kill:
    """A kill, and what it cost.

    Attributes:
        moment: its kind.
        steps_redone: optimizer steps that were taken once more; None if the job that was running took no step after it.
        seconds: until the next step of training, new interpreter included; None if there was none.
        cold: whether the command then started in a new interpreter.
    """

    moment: str
    steps_redone: int | None
    seconds: float | None
    cold: bool


@dataclass
class Result:
    """What a campaign has found.

    Attributes:
        kills: all of them.
        sweeps: how many sweeps were killed and brought to their end.
        differences: places at which they differ from the undisturbed one; a file too many or too few is one.
    """

    kills: list[Kill] = field(default_factory=list)
    sweeps: int = 0
    differences: list[str] = field(default_factory=list)

    def table(self) -> str:
        """A Markdown table with a row for each kind of moment."""
        lines = [
            "| killed in | kills | steps redone: median | most |",
            "| :-- | --: | --: | --: |",
        ]
        for moment in MOMENTS:
            kills = [kill for kill in self.kills if kill.moment == moment]
            redone = [kill.steps_redone for kill in kills if kill.steps_redone is not None]
            numbers = f"{statistics.median(redone):g} | {max(redone)}" if redone else "- | -"
            lines.append(f"| {moment} | {len(kills)} | {numbers} |")
        return "\n".join(lines)

    def summary(self) -> str:
        """What else there is to say, in one line each."""
        lines = [f"{len(self.kills)} kills of {self.sweeps} sweeps; differences and leftover files: "]
        lines[0] += f"{len(self.differences)}" if self.differences else "none"
        for cold, how in ((True, "a new interpreter"), (False, "imports done")):
            seconds = [kill.seconds for kill in self.kills if kill.cold == cold and kill.seconds is not None]
            if seconds:
                median = statistics.median(seconds)
                lines.append(f"from a kill to the next training step, {how}: median {median:.1f} s of {len(seconds)}")
        return "\n".join([*lines, *self.differences])


class Campaign:
    """Kills in a folder of its own; a `seed` gives the same choice of moments.

    Args:
        folder: for all that the sweeps need and leave.
        seed: of the random moments.
        cold_every: one in so many commands starts in a new interpreter, the others are forked.
        moments: draws, for each sweep, the kinds of moments at which it is killed, in their order.
    """

    def __init__(
        self,
        folder: Path,
        seed: int = 0,
        cold_every: int = 10,
        moments: Callable[[random.Random], Iterable[str]] = life,
    ) -> None:
        self.folder, self.dice, self.cold_every, self.moments = folder, random.Random(seed), cold_every, moments
        self.result = Result()
        self.data = folder / "data"
        write_tiny_data(self.data)
        self._starts = 0
        self._server = WarmServer(environment(OMP_NUM_THREADS="1"))

    def run(self, kills: int) -> Iterator[str]:
        """Kills as often, says how far it is after each sweep, and keeps everything in `result`."""
        reference, lengths = self._undisturbed()
        yield f"undisturbed: {lengths.whole:.1f} s"
        while len(self.result.kills) < kills:
            place = Place(self.folder / f"sweep-{self.result.sweeps}", self.data)
            self._kill_one_sweep(place, lengths, kills)
            found = differences(outcome(place), reference)
            self.result.differences += [f"{place.sweep.parents[2].name}{where[:200]}" for where in found]
            self.result.sweeps += 1
            yield self.result.summary().splitlines()[0]
            if not found:
                shutil.rmtree(place.work.parent)
        self._server.close()

    def _undisturbed(self) -> tuple[dict[str, Any], Lengths]:
        place = Place(self.folder / "undisturbed", self.data)
        began = time.time()
        code = place.start(self._server.start).wait()
        ended = time.time()
        assert code == 0, place.log.read_text()
        scoring = [beat.time for beat in place.beats() if beat.event == "test"][-1]
        done = max(path.stat().st_mtime for path in place.sweep.glob("*/status"))
        return outcome(place), Lengths(ended - began, done - scoring, ended - done)

    def _kill_one_sweep(self, place: Place, lengths: Lengths, at_most: int) -> None:
        """Starts a sweep and kills it moment by moment, until it is done or there are `at_most` kills in all."""
        killed: tuple[str, float, int] | None = None  # the kind of moment, when, and how many beats came before
        for moment in [*self.moments(self.dice), ""]:
            if len(self.result.kills) + (killed is not None) >= at_most:
                moment = ""
            if moment == "cache building":
                shutil.rmtree(place.cache, ignore_errors=True)
            start, cold = self._next_start()
            started = place.start(start)
            watched = Watched(place, started, lengths, self.dice)
            came = moment != "" and MOMENTS[moment](watched)
            if came:
                now = time.time()
                started.kill()
            elif started.wait() != 0:
                raise AssertionError(f"the command failed:\n{place.log.read_text()[-5000:]}")
            if killed is not None:
                self.result.kills.append(_cost(*killed, place.beats(), cold))
            if not came:
                return
            killed = (moment, now, len(place.beats()))

    def _next_start(self) -> tuple[Start, bool]:
        self._starts += 1
        cold = self._starts % self.cold_every == 0
        return (Cold if cold else self._server.start), cold


def _cost(moment: str, when: float, before: int, beats: list[Beat], cold: bool) -> Kill:
    """What a kill cost, by the beats before it and those of the command after it."""
    last = [beat for beat in beats[:before] if beat.event == "step"][-1:]
    following = [beat for beat in beats[before:] if beat.event == "step"]
    same_job = [beat for beat in following if last and beat.job == last[0].job]
    redone = last[0].step + 1 - same_job[0].step if same_job else None
    return Kill(moment, redone, following[0].time - when if following else None, cold)
