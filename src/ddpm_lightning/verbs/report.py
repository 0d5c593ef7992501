"""`python report.py SWEEP`: the table of a sweep, with error bars, figures and one page to browse."""

import glob
import sys
from pathlib import Path

from ddpm_lightning.report.score_names import NAMES

USAGE = f"""\
python report.py SWEEP... [by=OPTION,OPTION] [metric=kid] [out=FOLDER]

Writes report.md, report.csv, report.html and figures to SWEEP/report.

  SWEEP   folder of a sweep (multirun/...) or of a run, or a pattern in quotes; several are put into one table
  by      options that distinguish the rows, as in by=schedule,loss; by default, all that differ between the runs.
          Seeds are never rows: they are the replicates of each row
  metric  score to sort the rows by: {", ".join(NAMES)}
  out     where to write"""
OPTIONS = ("by", "metric", "out")


def main() -> None:
    """Parses the command line, writes the report and prints it."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        sys.exit(0 if words else 2)
    settings = [word for word in words if "=" in word and not Path(word).exists()]
    options = dict(word.split("=", 1) for word in settings)
    unknown = [option for option in options if option not in OPTIONS]
    if unknown:
        sys.exit(f"report.py: unknown option {unknown[0]!r}: choose from {', '.join(OPTIONS)}\n\n{USAGE}")
    from ddpm_lightning.report.make_report import make_report, plain_warnings, print_report  # not needed for --help

    sweeps = [path for word in words if word not in settings for path in _matching(word)]
    if not sweeps:
        sys.exit(f"report.py: name the folder of a sweep\n\n{USAGE}")
    try:
        with plain_warnings():
            written = make_report(
                sweeps,
                by=options["by"].split(",") if "by" in options else None,
                metric=options.get("metric", "kid"),
                out=Path(options["out"]) if "out" in options else None,
            )
    except (ValueError, OSError) as error:
        sys.exit(f"report.py: {error}")
    print_report(written)


def _matching(word: str) -> list[Path]:
    """The folder of this name, or those that match the pattern."""
    return [Path(word)] if Path(word).exists() or not glob.has_magic(word) else sorted(map(Path, glob.glob(word)))
