"""`kill`, Ctrl-C and SLURM's warning: the training saves a checkpoint, says how to go on, and is continued exactly."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.checkpoint import read_checkpoint

TWO_PROCESSES = ("trainer=ddp_cpu", "trainer.precision=32-true")
STEPS = 240
WITH_CTRL_C = (  # a shell starts what is in its background with Ctrl-C switched off
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
pytestmark = pytest.mark.slow


@pytest.fixture
def start(tiny_options: list[str], tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """`start("name=a", ...)`: a training of some seconds in an empty folder."""

    def run(*words: str) -> "subprocess.Popen[str]":
        program = str(Path(sys.executable).parent / "ddpm-train")
        options = [*tiny_options, f"trainer.max_steps={STEPS}", "callbacks=minimal"]
        options += ["callbacks.checkpointing.every_n_steps=50", "logger=none"]
        return subprocess.Popen(
            [sys.executable, "-c", WITH_CTRL_C, program, *options, *words],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


@pytest.mark.parametrize(
    ("number", "processes", "code"),
    [
        (signal.SIGTERM, (), 143),
        (signal.SIGINT, (), 130),
        (signal.SIGUSR1, (), 138),
        (signal.SIGTERM, TWO_PROCESSES, 143),
        (signal.SIGINT, TWO_PROCESSES, 130),
    ],
)
def test_a_signal_saves_and_the_run_ends_as_if_it_had_not_come(
    start: Callable,
    differences: Callable[[Any, Any], list[str]],
    tmp_path: Path,
    number: int,
    processes: tuple,
    code: int,
) -> None:
    whole, stopped = (RunFolder(tmp_path / "outputs" / "default" / name) for name in ("whole", "stopped"))
    process = start("name=stopped", *processes)
    end = time.monotonic() + 120
    while not stopped.last_checkpoint.is_file():
        assert process.poll() is None and time.monotonic() < end, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == code, printed
    assert "asked to end: saved step" in printed
    assert "the same command continues" in printed.splitlines()[-1]
    assert "Traceback" not in printed
    assert stopped.read_status()["state"] == "interrupted"
    step = read_checkpoint(stopped.last_checkpoint)["global_step"]
    assert f"saved step {step}\n" in printed

    for name in ("stopped", "whole"):
        again = start(f"name={name}", *processes)
        printed, _ = again.communicate(timeout=240)
        assert again.returncode == 0, printed
    ours, theirs = (read_checkpoint(run.last_checkpoint) for run in (stopped, whole))
    parts = ("state_dict", "ema", "optimizer_states", "lr_schedulers", "global_step")
    assert [d for part in parts for d in differences(ours[part], theirs[part])] == []
