"""Makes the report of one or several sweeps from their folders."""

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
    sweeps: Sequence[Path], by: Sequence[str] | None = None, metric: str | None = None, out: Path | None = None
) -> list[Path]:
    """Writes the report of the finished runs in `sweeps`, and returns its files.

    Args:
        sweeps: folders of sweeps or runs.
        by: options that distinguish the rows; None for every option in which the runs differ.
        metric: the score that the rows are sorted by, one of `score_names.NAMES`; None for the first that there is.
        out: the report's folder; None for `report` in the first sweep.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: there is no finished run, or the runs cannot be put into one table.
    """
    table = build_table(collect(sweeps), by=by, metric=metric)
    folder = out or sweeps[0] / "report"
    words = ["python", "report.py", *map(str, sweeps)]
    if metric is not None:
        words.append(f"metric={metric}")
    if by is not None:
        words.append(f"by={','.join(by)}")
    if out is not None:
        words.append(f"out={out}")
    return write_report(table, folder, title=sweeps[0].resolve().name, command=shlex.join(words))


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Prints warnings as sentences, without the line of code that issued them."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        yield


def print_report(written: Sequence[Path]) -> None:
    """Prints the report and the path of its HTML page."""
    folder = written[0].parent
    print((folder / "report.md").read_text())
    print(f"Open {folder / 'report.html'}")
