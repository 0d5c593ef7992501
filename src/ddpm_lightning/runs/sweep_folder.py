"""A sweep's folder: its plan, and the state of its jobs, read from their own folders.

So it is the same whichever launcher runs the jobs, and wherever.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ddpm_lightning.atomic_files import write_json
from ddpm_lightning.json_files import read_json
from ddpm_lightning.runs.run_folder import RunFolder

PLAN_FILE = "sweep.json"


class JobState(StrEnum):
    """The state of a job."""

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
        resumed: whether it continued from a checkpoint when it was last started.
        seconds: the time since it was last started; None unless done.
        error: the message of a failed one.
        changed: the time at which its status last changed, in Unix time; 0 if there is none.
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
        """Writes the jobs' folders (None: a sweeper decides as it goes), the time now, and the command."""
        plan = {
            "command": list(command),
            "began": time.time(),
            "jobs": None if folders is None else list(folders),
        }
        write_json(self.path / PLAN_FILE, plan)

    def read_plan(self) -> dict[str, Any]:
        """The plan, as `write_plan` wrote it.

        Raises:
            FileNotFoundError: if this is not the folder of a sweep.
            ValueError: if a job of the plan would be elsewhere than in this folder.
        """
        file = self.path / PLAN_FILE
        if not file.is_file():
            raise FileNotFoundError(f"{self.path} is not the folder of a sweep: it holds no {PLAN_FILE}")
        plan = read_json(file, ["jobs", "began"], "run the command of the sweep again, which writes it again")
        if outside := [job for job in plan["jobs"] or () if Path(job).name != job]:
            raise ValueError(f"{file} is refused: its job {outside[0]!r} is not a folder in that of the sweep")
        return plan

    def jobs(self) -> list[Job]:
        """The planned jobs, or those that have begun if a sweeper decides as it goes."""
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
    """Whether a process has locked the run's folder: a status alone does not show a kill."""
    try:
        with FileLock(run.lock_file, timeout=0):
            return False
    except Timeout:
        return True
