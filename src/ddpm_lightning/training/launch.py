"""Several processes per job, under Hydra.

Lightning starts the other ranks of a DDP job by running `sys.argv` again. Under Hydra that is wrong: with `-m` each of
them starts the whole sweep once more. Here a rank is started with this job's own overrides, in this job's folder.
"""

import os
import subprocess
import sys
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.utils import get_original_cwd, to_absolute_path
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

RANK_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def rank_command() -> list[str]:
    """The command that runs this very job again, in a process of its own."""
    hydra = HydraConfig.get()
    folder = QuotedString(str(Path(hydra.runtime.output_dir).resolve()), Quote.single)
    return [
        sys.executable,
        to_absolute_path(sys.argv[0]),
        *hydra.overrides.task,
        f"hydra.run.dir={folder.with_quotes()}",
        "hydra.output_subdir=null",
    ]


class _JobLauncher(_SubprocessScriptLauncher):
    """Starts the other ranks with `rank_command`."""

    def _call_children_scripts(self) -> None:
        if not HydraConfig.initialized():
            super()._call_children_scripts()
            return
        self._check_can_spawn_children()
        environment = self.cluster_environment
        os.environ.update(
            MASTER_ADDR=environment.main_address,
            MASTER_PORT=str(environment.main_port),
            NODE_RANK=str(environment.node_rank()),
            LOCAL_RANK=str(environment.local_rank()),
            WORLD_SIZE=str(self.num_processes * self.num_nodes),
        )
        self.procs = [
            subprocess.Popen(rank_command(), env={**os.environ, "LOCAL_RANK": str(rank)}, cwd=get_original_cwd())
            for rank in range(1, self.num_processes)
        ]


class HydraDDPStrategy(DDPStrategy):
    """DDP whose other ranks run the same Hydra job, also within a multirun."""

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        if not self.cluster_environment.creates_processes_externally:
            self._launcher = _JobLauncher(self.cluster_environment, self.num_processes, self.num_nodes)


def is_main_process() -> bool:
    """Whether this process is the one of its job that writes; known before a process group exists."""
    variables = ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID")
    return all(int(os.environ.get(variable, "0")) == 0 for variable in variables)


def release_processes() -> None:
    """Undoes what a DDP job leaves in its process, so that the next job of a sweep starts clean."""
    started_here = os.environ.get("LOCAL_RANK") == "0" and "TORCHELASTIC_RUN_ID" not in os.environ
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if started_here and "SLURM_JOB_ID" not in os.environ:
        for variable in RANK_VARIABLES:
            os.environ.pop(variable, None)
