"""Work that reports how far it is, to the display that is open around it; without one, to nobody."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

Advance = Callable[[int], None]
"""Called with the number of units of work that were done since the last call."""


class Display(ABC):
    """Base class of what shows the progress of work."""

    @abstractmethod
    def work(self, what: str, total: int) -> AbstractContextManager[Advance]:
        """Shows work of `total` units while the context is open."""


def _nobody(amount: int) -> None:
    """What work reports to without a display."""


_display: ContextVar[Display | None] = ContextVar("display", default=None)
_advance: ContextVar[Advance] = ContextVar("advance", default=_nobody)


@contextmanager
def shown_on(display: Display) -> Iterator[None]:
    """Context in which work is shown on this display."""
    token = _display.set(display)
    try:
        yield
    finally:
        _display.reset(token)


@contextmanager
def work(what: str, total: int) -> Iterator[None]:
    """Context of work that calls `advance` as it goes on.

    Args:
        what: the work in human-readable form, as in "drawing 64 samples".
        total: number of units of work.
    """
    display = _display.get()
    if display is None:
        yield
        return
    with display.work(what, total) as advance_row:
        token = _advance.set(advance_row)
        try:
            yield
        finally:
            _advance.reset(token)


def advance(amount: int = 1) -> None:
    """Reports `amount` more units of the innermost work as done."""
    _advance.get()(amount)
