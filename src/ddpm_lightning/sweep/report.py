"""`python report.py SWEEP`: the table of a sweep, with error bars, figures and one page to browse."""

import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ddpm_lightning.sweep.scores import NAMES

USAGE = f"""\
python report.py SWEEP... [by=OPTION,OPTION] [metric=kid] [out=FOLDER]

Writes report.md, report.csv, report.html and figures to SWEEP/report.

  SWEEP   folder of a sweep (multirun/...) or of a run; several are put into one table
  by      the options that make the rows, as schedule,loss; without it, all that differ between the runs
  metric  what the rows are sorted by: {", ".join(NAMES)}
  out     where to write"""
OPTIONS = ("by", "metric", "out")


def report(
    sweeps: Sequence[Path], by: Sequence[str] | None = None, metric: str = "kid", out: Path | None = None
) -> list[Path]:
    """Writes the report of the finished runs in `sweeps`, and returns its files.

    Raises:
        FileNotFoundError, ValueError: if there is no finished run, or the runs cannot be put into one table.
    """
    from ddpm_lightning.sweep.build_table import build_table
    from ddpm_lightning.sweep.collect import collect
    from ddpm_lightning.sweep.write_report import write_report

    table = build_table(collect(sweeps), by=by, metric=metric)
    folder = out or sweeps[0] / "report"
    words = ["python", "report.py", *map(str, sweeps), f"metric={metric}"]
    if by is not None:
        words.append(f"by={','.join(by)}")
    if out is not None:
        words.append(f"out={out}")
    return write_report(table, folder, title=sweeps[0].resolve().name, command=shlex.join(words))


def main() -> None:
    """Reads the command line."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        sys.exit(0 if words else 2)
    settings = [word for word in words if "=" in word and not Path(word).exists()]
    options = dict(word.split("=", 1) for word in settings)
    unknown = [option for option in options if option not in OPTIONS]
    if unknown:
        sys.exit(f"report.py: unknown option {unknown[0]!r}: there are {', '.join(OPTIONS)}\n\n{USAGE}")
    sweeps = [Path(word) for word in words if word not in settings]
    if not sweeps:
        sys.exit(f"report.py: name the folder of a sweep\n\n{USAGE}")
    try:
        with plain_warnings():
            written = report(
                sweeps,
                by=options["by"].split(",") if "by" in options else None,
                metric=options.get("metric", "kid"),
                out=Path(options["out"]) if "out" in options else None,
            )
    except (ValueError, OSError) as error:
        sys.exit(f"report.py: {error}")
    show(written)


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
