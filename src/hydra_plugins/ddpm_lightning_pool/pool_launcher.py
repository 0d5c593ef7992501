"""`hydra/launcher=pool`: several jobs of a sweep at once, each a process with devices of its own."""

import logging
import os
import queue
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from ddpm_lightning.processes import child_environment, threads_for_each
from ddpm_lightning.runs.job_command import job_command
from ddpm_lightning.runs.optimized_score import optimises, optimized_score
from ddpm_lightning.runs.plain_config import without_hydra
from ddpm_lightning.runs.run_folder import RunFolder

log = logging.getLogger(__name__)


class PoolLauncher(Launcher):
    """Runs `jobs` jobs at a time.

    A job is the verb's own command in a new process, so data workers, ranks and
    interpreter crashes are isolated. It sees its share of the devices alone: the GPUs through CUDA_VISIBLE_DEVICES, the
    processor's cores through OMP_NUM_THREADS. What it prints goes to `console.log` in its folder.

    Args:
        jobs: how many at once.
        devices: GPU numbers for each of them, as [0, 1] or ["0,1", "2,3"], among those that this process may use;
            None for the CPU alone, whose cores are shared.

    Raises:
        ValueError: for fewer devices than jobs at once, or one that this process may not use.
    """

    def __init__(self, jobs: int, devices: Sequence[int | str] | None = None) -> None:
        if jobs < 1:
            raise ValueError(f"hydra.launcher.jobs must be at least 1, not {jobs}")
        if devices is not None and len(devices) < jobs:
            raise ValueError(
                f"hydra.launcher.jobs={jobs} jobs at once need as many entries in hydra.launcher.devices, not "
                f"{len(devices)}"
            )
        self.jobs = jobs
        self.devices = [""] * jobs if devices is None else [_visible(str(device)) for device in devices]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.context = hydra_context

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs, and returns when all of them have ended."""
        setup_globals()
        shares: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        for device in self.devices[: self.jobs]:
            shares.put({**threads_for_each(self.jobs), "CUDA_VISIBLE_DEVICES": device})

        def run(config: DictConfig) -> JobReturn:
            share = shares.get()
            try:
                return self._run(config, share)
            finally:
                shares.put(share)

        # Here and not in the threads: Hydra's loader is not made for several at once.
        configs = [self.context.config_loader.load_sweep_config(self.config, list(words)) for words in job_overrides]
        log.info("%d jobs, %d at once", len(configs), self.jobs)
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                return list(pool.map(run, configs))
            except BaseException:  # Ctrl-C: running jobs have received it as well, the others must not begin
                pool.shutdown(cancel_futures=True)
                raise

    def _run(self, config: DictConfig, share: dict[str, str]) -> JobReturn:
        overrides = list(config.hydra.overrides.task)
        folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
        folder.mkdir(parents=True, exist_ok=True)
        with open_dict(config):
            config.hydra.runtime.output_dir = str(folder)
        log.info("begins: %s", " ".join(filter_overrides(overrides)))
        run = RunFolder(folder)
        record = _record(run)
        with (folder / "console.log").open("a") as console:
            ended = subprocess.run(
                job_command(config.hydra, overrides, folder),
                env=child_environment(**share),
                stdout=console,
                stderr=subprocess.STDOUT,
                check=False,
            )
        result = JobReturn(overrides=overrides, cfg=without_hydra(config))
        if ended.returncode == 0:
            result.status, result.return_value = JobStatus.COMPLETED, optimized_score(config, run)
        else:
            recorded = "" if _record(run) == record else _recorded_failure(run)
            message = recorded or f"see {folder / 'console.log'}"
            if recorded and optimises(config):  # the sweeper gets the penalty
                result.status, result.return_value = JobStatus.COMPLETED, optimized_score(config, run)
            else:
                result.status, result.return_value = JobStatus.FAILED, RuntimeError(message)
        self.context.callbacks.on_job_end(config=config, job_return=result)
        return result


def _record(run: RunFolder) -> tuple[int, int] | None:
    """What identifies the present record in a run's status; None if there is none."""
    if not run.status_file.is_file():
        return None
    status = run.status_file.stat()
    return status.st_ino, status.st_mtime_ns


def _recorded_failure(run: RunFolder) -> str:
    """The message of a failure in the run's status; empty if there is none."""
    status = run.read_status()
    return str(status["error"]) if status["state"] == "failed" else ""


def _visible(numbers: str) -> str:
    """The GPUs of these numbers, counted among those that this process may use."""
    own = os.environ.get("CUDA_VISIBLE_DEVICES")
    if own is None:
        return numbers
    names = [name for name in own.split(",") if name]
    wanted = [int(number) for number in numbers.split(",")]
    if max(wanted) >= len(names):
        raise ValueError(f"hydra.launcher.devices has {numbers}, but CUDA_VISIBLE_DEVICES={own!r} here")
    return ",".join(names[number] for number in wanted)
