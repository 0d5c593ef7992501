"""Progress on the console: bars at the bottom of a terminal, a plain line now and then elsewhere."""

import logging
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from ddpm_lightning.console.above_bars import logged_above_bars
from ddpm_lightning.console.pace import Pace, percent_and_time_left
from ddpm_lightning.tracking import Advance, Display, shown_on

log = logging.getLogger(__name__)

Status = Callable[[Pace], str]
"""How far work is, as text. It is called only when it is shown, so it may be expensive."""

SECONDS_BETWEEN_REFRESHES = 0.25
SECONDS_BETWEEN_LINES = 900.0
"""After this time there is a line even if no further tenth of the training is done."""
SECONDS_OF_LONG_WORK = 10.0
"""Work that is expected to take less gets no line: pictures and validations of a long training would make thousands."""


class ConsoleDisplay(Display):
    """Base class of displays on the console; opened by `console_progress`."""

    @abstractmethod
    def run(self, what: str, pace: Pace, status: Status) -> Advance:
        """Shows work until the display closes, and leaves its last state on the screen."""

    @abstractmethod
    @contextmanager
    def opened(self) -> Iterator[None]:
        """Context in which there is something to see."""


class _LineEach(Progress):
    """Rich's display with columns of their own for each task, so that a long text moves no other bar."""

    def get_renderables(self) -> Iterator[RenderableType]:
        for task in self.tasks:
            yield self.make_tasks_table([task])


class Bars(ConsoleDisplay):
    """Bars at the bottom of a terminal; what is printed or logged meanwhile appears above them."""

    def __init__(self) -> None:
        self._progress = _LineEach(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=40)),
            TextColumn("{task.fields[status]}", table_column=Column(no_wrap=True)),
            console=Console(),
            auto_refresh=False,  # a thread would be a risk to data loaders, which fork
        )
        self._refreshed = 0.0

    @contextmanager
    def opened(self) -> Iterator[None]:
        with logged_above_bars(self._progress.console), self._progress:
            yield

    def run(self, what: str, pace: Pace, status: Status) -> Advance:
        row = self._progress.add_task(
            what[0].upper() + what[1:], total=pace.total, completed=pace.done, status=status(pace)
        )
        self._progress.refresh()

        def advance(amount: int) -> None:
            pace.advance(amount)
            now = perf_counter()
            if now - self._refreshed >= SECONDS_BETWEEN_REFRESHES or pace.done == pace.total:
                self._refreshed = now
                self._progress.update(row, completed=pace.done, status=status(pace), refresh=True)

        return advance

    @contextmanager
    def work(self, what: str, total: int) -> Iterator[Advance]:
        advance = self.run(what, Pace(total), percent_and_time_left)
        row = self._progress.task_ids[-1]
        try:
            yield advance
        finally:
            self._progress.remove_task(row)
            self._progress.refresh()


class Lines(ConsoleDisplay):
    """Lines in the log: at each tenth of a training, at the start of other long work, every 15 minutes in between."""

    @contextmanager
    def opened(self) -> Iterator[None]:
        yield

    def run(self, what: str, pace: Pace, status: Status) -> Advance:
        line = _Line(what, pace, status)
        line.write()
        tenths = _tenths(pace)

        def advance(amount: int) -> None:
            nonlocal tenths
            pace.advance(amount)
            if _tenths(pace) > tenths or line.is_old:
                tenths = _tenths(pace)
                line.write()

        return advance

    @contextmanager
    def work(self, what: str, total: int) -> Iterator[Advance]:
        pace = Pace(total)
        line = _Line(what, pace, percent_and_time_left)

        def advance(amount: int) -> None:
            pace.advance(amount)
            if line.is_old and (pace.seconds_left or 0) >= SECONDS_OF_LONG_WORK:
                line.write()

        yield advance


class _Line:
    """A line that is written again as the work goes on."""

    def __init__(self, what: str, pace: Pace, status: Status) -> None:
        self._what, self._pace, self._status = what, pace, status
        self._written: float | None = None

    @property
    def is_old(self) -> bool:
        """Whether it was not written for a while, or never."""
        return self._written is None or perf_counter() - self._written >= SECONDS_BETWEEN_LINES

    def write(self) -> None:
        self._written = perf_counter()
        log.info("%s: %s", self._what, self._status(self._pace))


def _tenths(pace: Pace) -> int:
    return 0 if pace.total is None else 10 * pace.done // max(1, pace.total)


@contextmanager
def console_progress(is_first_rank: bool) -> Iterator[ConsoleDisplay | None]:
    """Context in which the first rank shows the progress of all work on the console; others get None."""
    if not is_first_rank:
        yield None
        return
    # Rich's own answer obeys FORCE_COLOR, which CI systems set.
    display = Bars() if sys.stdout.isatty() and Console().is_interactive else Lines()
    with display.opened(), shown_on(display):
        yield display
