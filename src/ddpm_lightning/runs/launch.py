"""A job of several processes, under Hydra.

Lightning starts the other ranks of a DDP job by running `sys.argv` again. Under Hydra that is wrong: with `-m` each of
them starts the whole sweep once more. Here the process that Hydra runs starts all ranks, with this job's own overrides
and in this job's folder, through torchrun's agent: when one fails the others are ended, and the sweep's process, which
is not a rank itself, is as clean for the next job as it was for this one.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

from hydra.core.hydra_config import HydraConfig
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import AcceleratorRegistry
from omegaconf import DictConfig, ListConfig
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, get_error_handler
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ddpm_lightning.processes import child_environment, threads_for_each
from ddpm_lightning.runs.failure import RankError, cause_of
from ddpm_lightning.runs.job_command import job_command
from ddpm_lightning.runs.ranks import started_from_outside
from ddpm_lightning.runs.system_errors import explain_system_error
from ddpm_lightning.temporary_folder import temporary_folder

_GO_ON = ", and the others were ended; to go on, repeat the command (a single training: with name=, or resume=RUN)"
SECONDS_UNTIL_KILL = 30
"""How long torch's agent waits for a rank to end before it kills it; fixed there."""


def ranks_to_start(trainer: DictConfig) -> int:
    """How many processes this job needs here; 1 if it needs no others, or somebody else starts them.

    Raises:
        ValueError: for several nodes without a launcher that starts ranks on all of them; for devices that this
            machine does not have.
    """
    if started_from_outside():
        return 1
    if trainer.num_nodes > 1:
        raise ValueError(
            f"trainer.num_nodes={trainer.num_nodes}: start a process for each device of each node with srun or torchrun"
        )
    devices = list(trainer.devices) if isinstance(trainer.devices, ListConfig) else trainer.devices
    try:
        accelerator = AcceleratorRegistry.get("cuda" if trainer.accelerator == "gpu" else trainer.accelerator)
        parsed = accelerator.parse_devices(devices)
    except (TypeError, KeyError, MisconfigurationException) as error:
        raise ValueError(
            f"trainer.accelerator={trainer.accelerator} with trainer.devices={devices} is not possible: "
            f"{' '.join(str(error.args[0]).split())}"
        ) from error
    return max(1, parsed if isinstance(parsed, int) else len(parsed or ()))


def run_ranks(count: int) -> None:
    """Runs this very job on `count` processes of this machine, and waits for them.

    Raises:
        RankError: if one fails; the others have been ended.
    """
    hydra = HydraConfig.get()
    _, *words = job_command(hydra, hydra.overrides.task, hydra.runtime.output_dir)
    with temporary_folder(Path(hydra.runtime.output_dir) / "ranks") as errors, _environment_restored():
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
            logs_specs=DefaultLogsSpecs(log_dir=str(errors)),
        )
        for reporter in ("agent.server.api", "multiprocessing.api"):  # the errors below say more
            logging.getLogger(f"torch.distributed.elastic.{reporter}").setLevel(logging.CRITICAL)
        try:
            elastic_launch(launch, sys.executable)(*words)
        except ChildFailedError as error:
            _raise_first_failure(error, errors)
        except SignalException as error:  # as without an agent: a sweep must not go on after Ctrl-C
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from error
            sys.exit(128 + error.sigval)


@contextmanager
def _environment_restored() -> Iterator[None]:
    """Restores the environment and the signal handlers, which torch's agent overwrites."""
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


def _raise_first_failure(error: ChildFailedError, logs: Path) -> NoReturn:
    """Raises the error of the rank that failed first; ranks that lose their connection to it fail as well.

    Those may even end before it does, and the agent's own times are whole seconds. A rank that recorded no exception
    was killed, so it is the cause: a rank that fails as a result records one. Otherwise it is the rank whose record
    is the oldest. Ranks that the agent itself has ended, by SIGTERM or half a minute later by SIGKILL, do not count.
    """
    earliest = min(failure.timestamp for failure in error.failures.values())
    silent = [
        rank
        for rank, failure in error.failures.items()
        if isinstance(failure.message, str)
        and failure.exitcode != -signal.SIGTERM
        and failure.timestamp < earliest + SECONDS_UNTIL_KILL
    ]
    recorded = sorted(logs.rglob("error.json"), key=lambda path: path.stat().st_mtime_ns)
    if recorded and not silent:
        first = recorded[0]  # LOGS/.../RANK/error.json
        record = json.loads(first.read_text())["message"]
        message = f"rank {first.parent.name} of this job failed: {record['message']}"
        raise RankError(message, record["extraInfo"]["py_callstack"]) from None
    rank = min(silent, default=next(iter(error.failures)))  # the agent notes first those that ended by themselves
    message = str(error.failures[rank].message)
    raise RankError(f"rank {rank} of this job failed: {message}{_GO_ON}", message) from None


def record_error(error: BaseException) -> None:
    """In a rank: reports an error to the process that started it."""
    cause = cause_of(error)
    if explained := explain_system_error(cause):
        cause = OSError(explained)
    with suppress(OSError):  # on a full disk
        get_error_handler().record_exception(cause)
