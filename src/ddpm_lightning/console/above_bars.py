"""Log lines above the bars of a terminal."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class _LinesAbove(io.TextIOBase):
    """A stream whose text appears above the bars, neither wrapped nor coloured."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> int:
        self._console.out(text, end="", highlight=False)
        return len(text)


@contextmanager
def logged_above_bars(console: Console) -> Iterator[None]:
    """Context in which the log handlers that write to stdout and stderr do so above the bars.

    Rich replaces both when the bars start, but a handler keeps the stream that it was made with. Open this before.
    """
    terminal = (sys.stdout, sys.stderr)
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = {handler for logger in loggers for handler in getattr(logger, "handlers", ())}
    moved = [h for h in handlers if isinstance(h, logging.StreamHandler) and h.stream in terminal]
    streams = [handler.setStream(_LinesAbove(console)) for handler in moved]
    try:
        yield
    finally:
        for handler, stream in zip(moved, streams, strict=True):
            handler.setStream(stream)
