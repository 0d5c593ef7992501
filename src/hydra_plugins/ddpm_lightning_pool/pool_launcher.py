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
from omegaconf import DictConfig, OmegaConf, open_dict

from ddpm_lightning.child_process import child_environment, job_command, threads_for_each
from ddpm_lightning.training.optimized_score import optimises, optimized_score
from ddpm_lightning.training.run_folder import RunFolder

log = logging.getLogger(__name__)


class PoolLauncher(Launcher):
    """Keeps `jobs` jobs at work.

    A job is the verb's own command in a new process, so that data workers, several ranks and a crash of the
    interpreter are no matter. It sees its share of the devices alone: the GPUs through CUDA_VISIBLE_DEVICES, the
    processor's cores through OMP_NUM_THREADS. What it prints goes to `console.log` in its folder.

    Args:
        jobs: how many at once.
        devices: GPU numbers for each of them, as [0, 1] or ["0,1", "2,3"]; None for the CPU, whose cores are shared.

    Raises:
        ValueError: for fewer devices than jobs at once.
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
        self.devices = None if devices is None else [str(device) for device in devices]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.loader = hydra_context.config_loader

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs, and returns when all of them have ended."""
        setup_globals()
        free: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        for place in range(self.jobs):
            share = threads_for_each(self.jobs)
            free.put(share if self.devices is None else share | {"CUDA_VISIBLE_DEVICES": self.devices[place]})

        def run(overrides: Sequence[str]) -> JobReturn:
            share = free.get()
            try:
                return self._run(overrides, share)
            finally:
                free.put(share)

        log.info("%d jobs, %d at once", len(job_overrides), self.jobs)
        with ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(run, job_overrides))

    def _run(self, overrides: Sequence[str], share: dict[str, str]) -> JobReturn:
        config = self.loader.load_sweep_config(self.config, list(overrides))
        folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
        folder.mkdir(parents=True, exist_ok=True)
        log.info("begins: %s", " ".join(filter_overrides(overrides)))
        with (folder / "console.log").open("a") as console:
            ended = subprocess.run(
                job_command(config.hydra, config.hydra.overrides.task, folder),
                env=child_environment(**share),
                stdout=console,
                stderr=subprocess.STDOUT,
                check=False,
            )
        result = JobReturn(overrides=list(overrides), hydra_cfg=OmegaConf.masked_copy(config, ["hydra"]))
        with open_dict(config):
            del config.hydra
        result.cfg = config
        run = RunFolder(folder)
        if ended.returncode != 0:
            message = run.read_status().get("error", f"see {folder / 'console.log'}")
            log.error("%s failed: %s", os.path.relpath(folder), message)
            if not optimises(config):
                result.status, result.return_value = JobStatus.FAILED, RuntimeError(message)
                return result
        result.status, result.return_value = JobStatus.COMPLETED, optimized_score(config, run)
        return result
