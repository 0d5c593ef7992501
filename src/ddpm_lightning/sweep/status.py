"""How far a sweep is: `python -m ddpm_lightning.sweep.status SWEEP` prints it at any time, from any terminal.

All of it is read from the jobs' folders, so it is the same whichever launcher runs the jobs, and wherever.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ddpm_lightning.atomic import write_json
from ddpm_lightning.quantities import duration
from ddpm_lightning.training.run_folder import RunFolder

PLAN_FILE = "sweep.json"


class JobState(StrEnum):
    """What is known of a job."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    TO_DO = "to do"


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes:
        folder: its folder's name within the sweep's.
        state: how far it is.
        resumed: whether it went on from a checkpoint when it was last started.
        seconds: what it took when it was last started; None unless done.
        error: the message of a failed one.
        changed: when its status last changed, in seconds of the clock; 0 where there is none.
    """

    folder: str
    state: JobState
    resumed: bool = False
    seconds: float | None = None
    error: str = ""
    changed: float = 0.0


@dataclass(frozen=True)
class SweepFolder:
    """A sweep's folder: its plan and its jobs."""

    path: Path

    def write_plan(self, folders: Sequence[str] | None, command: Sequence[str]) -> None:
        """Notes the jobs' folders (None: a sweeper decides as it goes), when they were begun, and by which command."""
        plan = {
            "command": list(command),
            "began": time.time(),
            "jobs": None if folders is None else list(folders),
        }
        write_json(self.path / PLAN_FILE, plan)

    def read_plan(self) -> dict[str, Any]:
        """What `write_plan` wrote.

        Raises:
            FileNotFoundError: if this is not the folder of a sweep.
        """
        file = self.path / PLAN_FILE
        if not file.is_file():
            raise FileNotFoundError(f"{self.path} is not the folder of a sweep: it holds no {PLAN_FILE}")
        plan: dict[str, Any] = json.loads(file.read_text())
        return plan

    def jobs(self) -> list[Job]:
        """The planned jobs, or those that have begun where the plan leaves it open."""
        folders = self.read_plan()["jobs"]
        if folders is None:
            folders = sorted(path.parent.name for path in self.path.glob("*/status"))
        return [job_in(self.path / folder) for folder in folders]


def job_in(folder: Path) -> Job:
    """The job of a folder, which may not exist yet."""
    run = RunFolder(folder)
    status = run.read_status()
    if status["state"] == "new":
        return Job(folder.name, JobState.TO_DO)
    state = JobState(status["state"])
    if state is JobState.RUNNING and not _at_work(run):
        state = JobState.INTERRUPTED
    return Job(
        folder=folder.name,
        state=state,
        resumed=status.get("resumed", False),
        seconds=status.get("seconds"),
        error=status.get("error", ""),
        changed=run.status_file.stat().st_mtime,
    )


def _at_work(run: RunFolder) -> bool:
    """Whether a process holds the run's folder: a status alone cannot tell of a kill."""
    try:
        with FileLock(run.lock_file, timeout=0):
            return False
    except Timeout:
        return True


def seconds_left(jobs: Sequence[Job], began: float, now: float) -> float | None:
    """An estimate from the pace since `began`; None before the first job has ended."""
    finished = sum(job.changed >= began and job.state in (JobState.DONE, JobState.FAILED) for job in jobs)
    left = sum(job.state in (JobState.TO_DO, JobState.RUNNING, JobState.INTERRUPTED) for job in jobs)
    left += sum(job.state is JobState.FAILED and job.changed < began for job in jobs)  # these are tried again
    return None if finished == 0 else left * (now - began) / finished


def summary(sweep: SweepFolder) -> str:
    """One line: how many jobs are done, resumed, failed and to do, and the time left."""
    jobs, plan = sweep.jobs(), sweep.read_plan()
    counts = [
        (sum(job.state is JobState.DONE for job in jobs), "done"),
        (sum(job.state is JobState.DONE and job.resumed for job in jobs), "of them resumed"),
        (sum(job.state is JobState.FAILED for job in jobs), "failed"),
        (sum(job.state is JobState.INTERRUPTED for job in jobs), "interrupted"),
        (sum(job.state is JobState.RUNNING for job in jobs), "running"),
        (sum(job.state is JobState.TO_DO for job in jobs), "to do"),
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
