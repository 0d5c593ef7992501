"""Progress of a sweep: `python -m ddpm_lightning.sweep.status SWEEP` prints it at any time, from any terminal."""

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ddpm_lightning.readable_numbers import duration
from ddpm_lightning.runs.sweep_folder import Job, JobState, SweepFolder


def seconds_left(jobs: Sequence[Job], began: float, now: float) -> float | None:
    """Estimated seconds left, from the pace since `began`; None before the first job has ended."""
    finished = sum(job.changed >= began and job.state in (JobState.DONE, JobState.FAILED) for job in jobs)
    left = sum(job.state in (JobState.TO_DO, JobState.RUNNING, JobState.INTERRUPTED) for job in jobs)
    left += sum(job.state is JobState.FAILED and job.changed < began for job in jobs)  # these are tried again
    return None if finished == 0 else left * max(now - began, 0) / finished  # clocks can be set back


def summary(sweep: SweepFolder) -> str:
    """One line: numbers of jobs done, resumed, failed and to do, and the time left."""
    jobs, plan = sweep.jobs(), sweep.read_plan()
    of_state = Counter(job.state for job in jobs)
    counts = [
        (of_state[JobState.DONE], "done"),
        (sum(job.state is JobState.DONE and job.resumed for job in jobs), "of them resumed"),
        *((of_state[s], s) for s in (JobState.FAILED, JobState.INTERRUPTED, JobState.RUNNING, JobState.TO_DO)),
    ]
    words = ", ".join(f"{count} {word}" for count, word in counts if count)
    # How many jobs a sweeper still has in mind is not known.
    left = None if plan["jobs"] is None else seconds_left(jobs, plan["began"], time.time())
    return words + (f"; about {duration(left)} left" if left else "")


def print_table(sweep: SweepFolder) -> None:
    """Prints every job's state, and the summary."""
    table = Table(title=escape(os.path.relpath(sweep.path)))
    for column in ("job", "state", "time"):
        table.add_column(column, justify="right" if column == "time" else "left", overflow="fold")
    for job in sweep.jobs():
        state = f"{job.state} (resumed)" if job.resumed and job.state is JobState.DONE else str(job.state)
        error = f": {escape(job.error.splitlines()[0])}" if job.error else ""
        table.add_row(job.folder, state + error, "" if job.seconds is None else duration(job.seconds))
    console = Console()
    console.print(table)
    console.print(summary(sweep), highlight=False)


def main() -> None:
    """Prints the state of the sweep named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("python -m ddpm_lightning.sweep.status SWEEP")
    try:
        print_table(SweepFolder(Path(sys.argv[1])))
    except FileNotFoundError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
