"""A job of a sweep, or a rank of a job, in a process of its own.

The process is started by the verb's own command line, so that it builds what the verb would build; it ends when the
process that started it ends, even by a kill, so that nothing goes on writing behind the back of the next start.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a process that only decodes images has no use for them
    from hydra.conf import HydraConf
    from omegaconf import DictConfig

PARENT_VARIABLE = "DDPM_LIGHTNING_PARENT"
SHARE_VARIABLE = "DDPM_LIGHTNING_THREADS"


def job_command(hydra_config: "HydraConf | DictConfig", overrides: Sequence[str], folder: str | Path) -> list[str]:
    """The command that runs one job of the verb to which `hydra_config` (the node `hydra`) belongs.

    Without `-m`, whatever started this process: with it a rank would start the whole sweep once more.
    """
    from hydra.core.override_parser.types import Quote, QuotedString

    main = next(source.path for source in hydra_config.runtime.config_sources if source.provider == "main")
    script = Path(main).parent / f"{hydra_config.job.config_name}.py"
    quoted = QuotedString(str(Path(folder).resolve()), Quote.single).with_quotes()
    return [sys.executable, str(script), *overrides, f"hydra.run.dir={quoted}", "hydra.output_subdir=null"]


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a process that is to end with this one."""
    return {**os.environ, PARENT_VARIABLE: str(os.getpid()), **changes}


def is_child() -> bool:
    """Whether this process was started by one of this project's."""
    return PARENT_VARIABLE in os.environ


def end_with_parent() -> None:
    """In a child: a thread that ends the process within a second of the parent's end. Elsewhere nothing."""
    if not is_child():
        return
    end_with(int(os.environ[PARENT_VARIABLE]))


def end_with(parent: int) -> None:
    """Starts a thread that ends this process within a second of the end of its parent, the process of this number."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def threads_for_each(processes: int) -> dict[str, str]:
    """The variables that divide this process's cores among processes; none where the user has set OMP_NUM_THREADS."""
    if "OMP_NUM_THREADS" in os.environ and SHARE_VARIABLE not in os.environ:
        return {}
    share = str(max(1, available_cores() // processes))
    return {"OMP_NUM_THREADS": share, SHARE_VARIABLE: share}


def available_cores() -> int:
    """The cores that this process may use: its share where a launcher gave it one."""
    if SHARE_VARIABLE in os.environ:
        return int(os.environ[SHARE_VARIABLE])
    # Not every system tells a process which cores are its own.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
