"""Processes that never outlive the one that started them, and the cores they share."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddpm_lightning.processes import (
    PARENT_VARIABLE,
    SHARE_VARIABLE,
    child_environment,
    is_child,
    threads_for_each,
)

SLEEPER = "import time; from ddpm_lightning.processes import end_with_parent; end_with_parent(); time.sleep(60)"
PARENT = f"""
import subprocess, sys, time
from ddpm_lightning.processes import child_environment
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], env=child_environment())
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def no_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (PARENT_VARIABLE, SHARE_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


def test_a_child_imports_what_its_parent_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_of_mine.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    subprocess.run([sys.executable, "-c", "import module_of_mine"], env=child_environment(), check=True)


def test_a_child_knows_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_child()
    environment = child_environment(CUDA_VISIBLE_DEVICES="3")
    own = {PARENT_VARIABLE: str(os.getpid()), "CUDA_VISIBLE_DEVICES": "3"}
    assert environment == {**os.environ, **own, "PYTHONPATH": environment["PYTHONPATH"]}
    assert not is_child()
    monkeypatch.setenv(PARENT_VARIABLE, environment[PARENT_VARIABLE])
    assert is_child()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux for processes")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            time.sleep(0.5)
            assert alive(child)
            parent.send_signal(signal.SIGKILL)
            parent.wait()
            for _ in range(100):
                if not alive(child):
                    break
                time.sleep(0.1)
            assert not alive(child)
        finally:
            if alive(child):
                os.kill(child, signal.SIGKILL)


def test_a_process_of_the_users_own_is_not_watched() -> None:
    program = "import os, threading; from ddpm_lightning.processes import end_with_parent; end_with_parent(); "
    program += "print(threading.active_count())"
    counted = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert counted.stdout.strip() == "1"


@pytest.mark.parametrize(("cores", "processes", "threads"), [(8, 2, 4), (8, 3, 2), (2, 4, 1), (6, 1, 6)])
def test_the_cores_are_divided(monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, threads: int) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert threads_for_each(processes)["OMP_NUM_THREADS"] == str(threads)


def test_a_share_is_divided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a job of a pool that starts ranks: what the pool set is not the user's wish."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    for variable, value in threads_for_each(2).items():
        monkeypatch.setenv(variable, value)
    assert threads_for_each(2)["OMP_NUM_THREADS"] == "2"


def test_the_users_number_of_threads_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert threads_for_each(2) == {}
