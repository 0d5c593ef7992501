"""The report verb: the table of a sweep, with error bars, figures and one page to browse."""

import glob
import sys
from pathlib import Path

from ddpm_lightning.report.score_names import NAMES
from ddpm_lightning.runs.system_errors import explain_system_error
from ddpm_lightning.verbs.program import program_call, program_name
from ddpm_lightning.verbs.words import read_words

USAGE = f"""\
SWEEP... [by=OPTION,OPTION] [metric=NAME] [out=FOLDER]

Writes report.md, report.csv, report.html and figures to SWEEP/report.

  SWEEP   folder of a sweep (multirun/...) or of a run, or a pattern in quotes; several are put into one table
  by      options that distinguish the rows, as in by=schedule,loss; by default, all that differ between the runs.
          Seeds are never rows: they are the replicates of each row
  metric  score to sort the rows by: {", ".join(NAMES)}; by default, the
          first of these that there is
  out     where to write"""
OPTIONS = ("by", "metric", "out")


def main() -> None:
    """Parses the command line, writes the report and prints it."""
    try:
        words = read_words(sys.argv[1:], OPTIONS, f"{program_call()} {USAGE}")
        sweeps = [path for word in words.paths for path in _matching(word)]
        if not sweeps:
            raise ValueError("name the folder of a sweep, as in multirun/NAME")
        if "out" in words.options and Path(words.options["out"]).is_file():
            raise ValueError(f"out={words.options['out']} is a file: name a folder")
        from ddpm_lightning.report.make_report import make_report, plain_warnings, print_report  # not needed for --help

        options = words.options
        with plain_warnings():
            written = make_report(
                sweeps,
                by=options["by"].split(",") if "by" in options else None,
                metric=options.get("metric"),
                out=Path(options["out"]) if "out" in options else None,
            )
    except (ValueError, OSError) as error:
        sys.exit(f"{program_name()}: {explain_system_error(error) or error}")
    print_report(written)


def _matching(word: str) -> list[Path]:
    """The folder of this name, or those that match the pattern.

    Raises:
        FileNotFoundError: none does.
    """
    if Path(word).exists():
        return [Path(word)]
    if not (found := sorted(map(Path, glob.glob(word)))):
        raise FileNotFoundError(f"there is no folder that matches {word}")
    return found
