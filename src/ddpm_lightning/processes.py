"""Processes that end with the one that started them, and the cores they share."""

import os
import sys
import threading
import time

PARENT_VARIABLE = "DDPM_LIGHTNING_PARENT"
SHARE_VARIABLE = "DDPM_LIGHTNING_THREADS"


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a Python process that is to end with this one, and to find the same modules."""
    modules = os.pathsep.join(dict.fromkeys(os.path.abspath(path) for path in sys.path))
    return {**os.environ, "PYTHONPATH": modules, PARENT_VARIABLE: str(os.getpid()), **changes}


def is_child() -> bool:
    """Whether this process was started by one of this project's."""
    return PARENT_VARIABLE in os.environ


def end_with_parent() -> None:
    """In a child: starts a thread that ends the process within a second of the parent's end. Elsewhere: nothing."""
    if not is_child():
        return
    parent = int(os.environ[PARENT_VARIABLE])

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
    # Not every system knows which cores a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
