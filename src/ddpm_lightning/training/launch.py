"""Several processes per job, under Hydra.

Lightning starts the other ranks of a DDP job by running `sys.argv` again. Under Hydra that is wrong: with `-m` each of
them starts the whole sweep once more. Here the process that Hydra runs starts all ranks, with this job's own overrides
and in this job's folder, through torchrun's agent: when one fails the others are ended, and the sweep's process, which
is no rank itself, is as clean for the next job as it was for this one.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn
from uuid import uuid4

import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.accelerators import AcceleratorRegistry
from omegaconf import DictConfig, ListConfig
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure, get_error_handler
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ddpm_lightning.child_process import child_environment, is_child, job_command, threads_for_each


class RankError(RuntimeError):
    """A rank of a job failed.

    Attributes:
        details: its traceback, as far as it is known.
    """

    def __init__(self, message: str, details: str) -> None:
        super().__init__(message)
        self.details = details


def started_from_outside() -> bool:
    """Whether torchrun or srun started this process as one of several ranks."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def is_own_rank() -> bool:
    """Whether `run_ranks` started this process."""
    return is_child() and "TORCHELASTIC_RUN_ID" in os.environ


def global_rank() -> int:
    """This process's place among the ranks; known before a process group exists."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["RANK"])
    return int(os.environ["SLURM_PROCID"]) if started_from_outside() else 0


def ranks_to_start(trainer: DictConfig) -> int:
    """How many processes this job needs here; 1 if it needs no others, or somebody else starts them.

    Raises:
        ValueError: for several nodes without a launcher that starts ranks on all of them.
    """
    if started_from_outside():
        return 1
    if trainer.num_nodes > 1:
        raise ValueError(
            f"trainer.num_nodes={trainer.num_nodes}: start a process for each device of each node with srun or torchrun"
        )
    devices = list(trainer.devices) if isinstance(trainer.devices, ListConfig) else trainer.devices
    accelerator = AcceleratorRegistry.get("cuda" if trainer.accelerator == "gpu" else trainer.accelerator)
    if devices == "auto":
        return max(1, accelerator.auto_device_count())
    parsed = accelerator.parse_devices(devices)
    return max(1, parsed if isinstance(parsed, int) else len(parsed or ()))


def run_ranks(count: int) -> None:
    """Runs this very job on `count` processes of this machine, and waits for them.

    Raises:
        RankError: if one fails; the others have been ended.
    """
    hydra = HydraConfig.get()
    _, *words = job_command(hydra, hydra.overrides.task, hydra.runtime.output_dir)
    with tempfile.TemporaryDirectory() as errors, _surroundings_restored():
        os.environ.update(child_environment(**threads_for_each(count)))
        launch = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            monitor_interval=0.2,
            logs_specs=DefaultLogsSpecs(log_dir=errors),
        )
        try:
            elastic_launch(launch, sys.executable)(*words)
        except ChildFailedError as error:
            _raise_first_failure(error)
        except SignalException as error:  # as without an agent: a sweep must not go on after Ctrl-C
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from error
            sys.exit(128 + error.sigval)


@contextmanager
def _surroundings_restored() -> Iterator[None]:
    """The agent leaves variables and signal handlers behind."""
    variables = dict(os.environ)
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    handlers = {number: signal.getsignal(number) for number in signals}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(variables)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _raise_first_failure(error: ChildFailedError) -> NoReturn:
    rank, failure = error.get_first_failure()
    message, details = _told(failure)
    raise RankError(f"rank {rank} of this job failed: {message}", details) from None


def _told(failure: ProcessFailure) -> tuple[str, str]:
    """What a rank said of its error, in short and in full."""
    if isinstance(failure.message, str):  # it was killed, or ended without a word
        return failure.message, failure.message
    return failure.message["message"], failure.message["extraInfo"]["py_callstack"]


def record_error(error: BaseException) -> None:
    """In a rank: tells the process that started it what went wrong."""
    get_error_handler().record_exception(error)


def release_processes() -> None:
    """Ends the process group of a job, so that the next job of a sweep can have its own."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
