"""How far work is, and how long the rest takes."""

from time import perf_counter

from ddpm_lightning.readable_numbers import duration


class Pace:
    """A count of units of work with a clock.

    The clock starts when the first report arrives, because the first step allocates memory and may compile.

    Attributes:
        total: number of units, those before this start included; None if it is unknown.
        done: number of units that are done.

    Args:
        total: as the attribute.
        done: units that were done before this start; they do not count for the speed.
    """

    def __init__(self, total: int | None, done: int = 0) -> None:
        self.total = total
        self.done = done
        self._began: tuple[float, int] | None = None

    def advance(self, amount: int) -> None:
        self.done += amount
        if self._began is None:
            self._began = (perf_counter(), self.done)

    @property
    def share(self) -> float | None:
        """Share that is done, from 0 to 1; None if the total is unknown."""
        return None if self.total is None else self.done / max(1, self.total)

    @property
    def seconds_left(self) -> float | None:
        """Duration of the rest at the speed since this start; None while that is unknown."""
        if self.total is None or self._began is None or self.done == self._began[1]:
            return None
        start, before = self._began
        return (perf_counter() - start) / (self.done - before) * (self.total - self.done)


def time_left(pace: Pace) -> list[str]:
    """["3 min 20 s left"]; an empty list at the end of the work, and while nothing is known."""
    seconds = pace.seconds_left
    if not seconds:
        return []
    # Whole seconds: decimals of an estimate would only flicker.
    return [f"{duration(seconds) if seconds >= 59.5 else f'{max(1, round(seconds))} s'} left"]


def percent_and_time_left(pace: Pace) -> str:
    """As in "40 %, 12 s left"."""
    share = [] if pace.share is None else [f"{100 * pace.share:.0f} %"]
    return ", ".join(share + time_left(pace))
