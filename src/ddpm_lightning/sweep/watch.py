"""What a sweep does beside its jobs: it holds its folder, knows its jobs beforehand, and tells how far it is."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, flag_override

import ddpm_lightning.folder_names  # noqa: F401  (registers the folders' names, also where a launcher sends a job)
from ddpm_lightning.sweep.status import JobState, SweepFolder, print_table, summary
from ddpm_lightning.training.run_folder import RunFolder

IN_THIS_PROCESS = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"

_held: FileLock | None = None
_sweep: SweepFolder | None = None
_failed: set[str] = set()


class SweepWatch(Callback):
    """A callback of Hydra's, in `hydra.callbacks`. Holds no state: launchers send it to other processes."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Takes hold of the sweep's folder and notes its jobs.

        Raises:
            SystemExit: if that cannot be; Hydra would make a warning of any other exception, and go on.
        """
        if _ranks_from_outside() > 1 and not _is_grid(config):  # each rank would draw parameters of its own
            raise SystemExit("a sweeper that samples needs one process: start it without torchrun or srun")
        try:
            overrides = _parsed_overrides(config)
            _settle_names(config, overrides)
            if _rank_from_outside() > 0:
                return  # the first rank keeps the record
            sweep = _begin(config, overrides)
        except Exception as error:
            raise SystemExit(f"the sweep cannot begin: {str(error) or repr(error)}") from error
        print_table(sweep)
        if config.hydra.launcher._target_ != IN_THIS_PROCESS:
            threading.Thread(target=_tell_of_changes, args=(sweep,), daemon=True).start()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Tells how far the sweep is, if this is the process that runs it."""
        if _sweep is None:
            return
        if job_return.status is JobStatus.FAILED:
            folder = Path(config.hydra.runtime.output_dir)
            if RunFolder(folder).read_status()["state"] != "failed":  # else it has told so itself
                print(f"{folder.name} failed: {job_return._return_value}", file=sys.stderr)
            _failed.add(folder.name)
        print(summary(_sweep), flush=True)


def end_sweep() -> int | None:
    """Prints what became of the jobs, reports them if all are done, and lets go of the folder.

    Returns how many jobs failed; None if no sweep has begun.
    """
    global _sweep
    if _sweep is None:
        return None
    print_table(_sweep)
    jobs = _sweep.jobs()
    failed = _failed | {job.folder for job in jobs if job.state is JobState.FAILED}
    if not failed and all(job.state is JobState.DONE for job in jobs):
        _report(_sweep)
    assert _held is not None
    _held.release()
    _failed.clear()
    _sweep = None
    return len(failed)


def _report(sweep: SweepFolder) -> None:
    from ddpm_lightning.sweep.report import plain_warnings, report, show  # what draws figures is of no use before

    try:
        with plain_warnings():
            show(report([sweep.path]))
    except (ValueError, OSError) as error:
        print(f"no report: {error}")


def _begin(config: DictConfig, overrides: list[Override]) -> SweepFolder:
    """Holds the folder, and writes the plan.

    Raises:
        ValueError: if another sweep is at work there.
    """
    global _held, _sweep
    folder = Path(config.hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(
            f"another sweep is at work in {folder}: wait for it, or give this one a name= of its own"
        ) from error
    sweep = SweepFolder(folder)
    sweep.plan(_planned_jobs(config, overrides), config.hydra.overrides.task)
    _held, _sweep = lock, sweep
    return sweep


def _ranks_from_outside() -> int:
    return int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_STEP_NUM_TASKS", "1")))


def _rank_from_outside() -> int:
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))


def _is_grid(config: DictConfig) -> bool:
    """Whether all jobs are known beforehand."""
    return bool(config.hydra.sweeper._target_ == f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}")


def _parsed_overrides(config: DictConfig) -> list[Override]:
    """What the sweep varies, and what it sets for all its jobs."""
    arguments = [*(f"{k}={v}" for k, v in (config.hydra.sweeper.params or {}).items()), *config.hydra.overrides.task]
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides(arguments)


def _settle_names(config: DictConfig, overrides: list[Override]) -> None:
    """Makes the folders' names the same wherever a launcher, or another rank, composes a job's config.

    A job's name tells it from the others: what is the same for all of them is left out.
    """
    folder = Path(config.hydra.sweep.dir).absolute()
    same = [override.key_or_group for override in overrides if not override.is_sweep_override()]
    settled = {
        "hydra.sweep.dir": QuotedString(str(folder), Quote.single).with_quotes(),
        "hydra.job.config.override_dirname.exclude_keys": f"[{','.join(same)}]",
    }
    with flag_override(config, ["readonly", "struct"], False):
        config.hydra.sweep.dir = str(folder)
        config.hydra.overrides.hydra.extend([f"{key}={value}" for key, value in settled.items()])


def _planned_jobs(config: DictConfig, overrides: list[Override]) -> list[str] | None:
    """Every job's folder; None if the sweeper decides as it goes, as Optuna's does."""
    if not _is_grid(config):
        return None
    loader = GlobalHydra.instance().config_loader()
    (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return [str(loader.load_sweep_config(config, list(words)).hydra.sweep.subdir) for words in jobs]


def _tell_of_changes(sweep: SweepFolder) -> None:
    """Prints the summary whenever a job has begun or ended; for launchers whose jobs are other processes."""
    last: list[tuple[str, JobState]] = []
    while _sweep is sweep:
        now = [(job.folder, job.state) for job in sweep.jobs()]
        if last and now != last:
            print(summary(sweep), flush=True)
        last = now
        time.sleep(1)
