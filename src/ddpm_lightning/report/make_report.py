"""The report of one or several sweeps, from their folders to its files."""

import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ddpm_lightning.report.build_table import build_table
from ddpm_lightning.report.collect import collect
from ddpm_lightning.report.rendering.write_report import write_report


def make_report(
    sweeps: Sequence[Path], by: Sequence[str] | None = None, metric: str = "kid", out: Path | None = None
) -> list[Path]:
    """Writes the report of the finished runs in `sweeps`, and returns its files.

    Raises:
        FileNotFoundError, ValueError: if there is no finished run, or the runs cannot be put into one table.
    """
    table = build_table(collect(sweeps), by=by, metric=metric)
    folder = out or sweeps[0] / "report"
    words = ["python", "report.py", *map(str, sweeps), f"metric={metric}"]
    if by is not None:
        words.append(f"by={','.join(by)}")
    if out is not None:
        words.append(f"out={out}")
    return write_report(table, folder, title=sweeps[0].resolve().name, command=shlex.join(words))


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Prints a warning as a sentence, without the line of code that gives it."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        yield


def show(written: Sequence[Path]) -> None:
    """Prints the report, and which page to open."""
    folder = written[0].parent
    print((folder / "report.md").read_text())
    print(f"Open {folder / 'report.html'}")
