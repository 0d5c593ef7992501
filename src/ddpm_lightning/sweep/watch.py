"""Hydra callback of a sweep: locks its folder, writes its plan, prints its progress.

What Hydra gives a callback, and what it does not, shapes this file. It makes a new callback object for each job, in
the process that runs the job, so a callback cannot keep anything: the sweep of this process is a global. It calls
`on_multirun_start` with the sweep's config before any job is composed, and swallows exceptions there, except
`SystemExit`. It composes each job from `hydra.overrides` again, perhaps in another process, so what must be the same
in all of them (the absolute path of the sweep, which options vary) is written into these overrides. It calls
nothing that a verb could return to: `verbs/cli.py` calls `end_sweep` when Hydra has ended.
"""

import os
import shutil
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

import ddpm_lightning.sweep.folder_names  # noqa: F401  # registers the names, also where a launcher sends a job
from ddpm_lightning.runs.check_command import check_command
from ddpm_lightning.runs.failure import failure_message
from ddpm_lightning.runs.home_folder import expand_home
from ddpm_lightning.runs.new_folders import note_existing, remove_new_parents
from ddpm_lightning.runs.ranks import global_rank, num_ranks
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.sweep_folder import PLAN_FILE, JobState, SweepFolder
from ddpm_lightning.sweep.back_ends import check_back_ends
from ddpm_lightning.sweep.plan import fix_job_names, is_grid, parsed_overrides, plan_jobs, plugin_name
from ddpm_lightning.sweep.status import print_table, summary

_current: "LockedSweep | None" = None
"""The sweep of this process; None where there is none, or it has ended."""


class LockedSweep:
    """A running sweep, whose folder this process has locked; `has_scores` if its jobs have scores to report.

    Raises:
        ValueError: if another sweep holds it.
    """

    def __init__(self, folder: Path, has_scores: bool) -> None:
        self.has_scores = has_scores
        self.is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        self.sweep = SweepFolder(folder)
        self.failed: set[str] = set()  # folders of jobs; one that is another run's has no status to say so
        self._lock = FileLock(folder / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise ValueError(
                f"another sweep is running in {folder}: wait for it, or give this one a name= of its own"
            ) from error

    def count_failed(self) -> int:
        """How many jobs have failed since this start."""
        began = self.sweep.read_plan()["began"]
        jobs = self.sweep.jobs()
        return len(self.failed | {job.folder for job in jobs if job.state is JobState.FAILED and job.changed >= began})

    def release(self) -> None:
        """Unlocks the folder."""
        self._lock.release()

    def remove_unused(self) -> None:
        """Removes the folder if this start has made it and no job has begun."""
        folder = self.sweep.path
        if self.is_new and {path.name for path in folder.iterdir()} <= {PLAN_FILE, ".lock", "multirun.yaml"}:
            shutil.rmtree(folder, ignore_errors=True)
            remove_new_parents(folder)


class CannotBeginError(SystemExit):
    """Raised if a command cannot begin; a SystemExit, because Hydra turns other exceptions here into warnings."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"the sweep cannot begin: {str(cause) or repr(cause)}")
        self.cause = cause


class SweepWatch(Callback):
    """The entry of `hydra.callbacks`. It has no state of its own: launchers send it to other processes."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Checks the types of a single run's options before Hydra makes its folder, and expands `~` in that.

        Raises:
            SystemExit: a value is not possible.
        """
        try:
            expand_home(config)
            check_command(config)
            note_existing(Path(config.hydra.run.dir), "paths.output_dir= or hydra.run.dir=")
        except Exception as error:
            raise CannotBeginError(error) from error

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Locks the sweep's folder and writes its plan.

        Raises:
            SystemExit: the folder is in use, or the jobs are not ones that can share it.
        """
        if num_ranks() > 1 and not is_grid(config):  # each rank would draw parameters of its own
            raise SystemExit("a sweeper that samples needs one process: start it without torchrun or srun")
        if num_ranks() > 1 and not _runs_jobs_itself(config):
            raise SystemExit("under torchrun or srun jobs run in these very processes: leave out hydra/launcher")
        try:
            expand_home(config)
            overrides = parsed_overrides(config)
            fix_job_names(config, overrides)
            if global_rank() > 0:
                return  # the first rank keeps the record
            sweep = _begin(config, overrides)
        except Exception as error:
            raise CannotBeginError(error) from error
        print_table(sweep)
        if not _runs_jobs_itself(config):
            threading.Thread(target=_print_changes, args=(sweep,), daemon=True).start()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Records a failure, wherever the job has run, and prints the progress, in the process that holds the sweep."""
        if job_return.status is JobStatus.FAILED:
            status = _note_failure(RunFolder(Path(config.hydra.runtime.output_dir)), job_return._return_value)
            # The record decides the exit code; Hydra would print the error once more.
            if is_grid(config) and (_current is not None or status["state"] == "failed"):
                job_return.status, job_return.return_value = JobStatus.COMPLETED, None
        if _current is not None and _runs_jobs_itself(config):
            print(summary(_current.sweep), flush=True)


def _note_failure(run: RunFolder, error: BaseException) -> dict[str, Any]:
    """Prints a job's failure, and records it unless the job has done so itself, or the folder is another run's.

    Returns the status that is on record then.
    """
    message = failure_message(error)
    status = run.read_status()
    if _current is not None:
        _current.failed.add(run.path.name)
    if status["state"] == "failed" and status["error"] in message:  # a launcher may wrap it in an error of its own
        message = status["error"]
    elif status["state"] in ("new", "failed"):  # it failed before it could begin
        run.write_status("failed", error=message, traceback="".join(traceback.format_exception(error)))
    print(f"{run.path.name} failed: {message}", file=sys.stderr)
    return run.read_status()


def end_sweep(has_failed: bool = False) -> int | None:
    """Prints the final states, writes the report if all jobs are done, and releases the folder.

    If the sweep itself `has_failed`, nothing is left of one that has not begun a job.

    Returns how many jobs failed; None if no sweep has begun.
    """
    global _current
    if _current is None:
        return None
    held, _current = _current, None
    try:
        print_table(held.sweep)
        if held.has_scores and not held.failed and all(job.state is JobState.DONE for job in held.sweep.jobs()):
            _report(held.sweep)
        return held.count_failed()
    finally:
        held.release()
        if has_failed:
            held.remove_unused()


def _report(sweep: SweepFolder) -> None:
    from ddpm_lightning.report.make_report import (  # matplotlib and pandas, only now
        make_report,
        plain_warnings,
        print_report,
    )

    try:
        with plain_warnings():
            print_report(make_report([Path(os.path.relpath(sweep.path))]))
    except Exception as error:  # whatever it is: the sweep itself has succeeded
        print(f"no report: {str(error) or repr(error)}")


def _begin(config: DictConfig, overrides: list[Override]) -> SweepFolder:
    """Locks the folder and writes the plan."""
    global _current
    jobs = plan_jobs(config, overrides)  # before there is a folder: an option may be misspelt
    check_back_ends(config)
    note_existing(Path(config.hydra.sweep.dir), "hydra.sweep.dir=")
    _current = LockedSweep(Path(config.hydra.sweep.dir), has_scores=config.hydra.job.config_name != "sample")
    _current.sweep.write_plan(jobs, config.hydra.overrides.task)
    return _current.sweep


def _runs_jobs_itself(config: DictConfig) -> bool:
    """Whether the launcher runs the jobs in the process of the sweep, one after the other."""
    return bool(config.hydra.launcher._target_ == plugin_name(BasicLauncher))


def _print_changes(sweep: SweepFolder) -> None:
    """Prints the summary whenever a job has begun or ended; for launchers whose jobs are other processes."""
    last = [(job.folder, job.state) for job in sweep.jobs()]
    while _current is not None and _current.sweep is sweep:
        now = [(job.folder, job.state) for job in sweep.jobs()]
        if now != last:
            print(summary(sweep), flush=True)
        last = now
        time.sleep(1)
