"""What a run has logged, and places in which sweeps are run and watched."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import equality
from ddpm_lightning.runs.run_folder import RunFolder

Logged = dict[tuple[int, str], str]


@pytest.fixture(scope="session")
def resumable(tiny_options: list[str]) -> list[str]:
    """A tiny training in which every kind of randomness is in use: dropout, labels, flips, order, noise, times.

    Its epochs have 5 batches, into which windows of two accumulated batches do not fit.
    """
    return [
        *tiny_options,
        "dataset.split.val_size=38",
        "dataset.flip=true",
        "model.num_classes=10",
        "model.dropout=0.1",
        "metrics.every_n_epochs=1",
        "logger=csv",
        "trainer.log_every_n_steps=1",
    ]


@pytest.fixture(scope="session")
def differences() -> Callable[[Any, Any], list[str]]:
    """`differences(ours, theirs)`: the places at which two nested states differ."""
    return equality.differences


@pytest.fixture(scope="session")
def logged() -> Callable[[Path], Logged]:
    """`logged(run_folder)`: every value of its CSV files by (step, name); a later start overrules an earlier one."""
    return _logged


def _logged(folder: Path) -> Logged:
    starts = sorted(folder.glob("csv/version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    values: Logged = {}
    for path in starts:
        with path.open() as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                values |= {
                    (step, name): value for name, value in row.items() if value != "" and not equality.is_cost(name)
                }
    return values


REPOSITORY = Path(__file__).parents[2]
TWO_PROCESSES = ("trainer=ddp_cpu", "trainer.devices=2", "trainer.precision=32-true")


@pytest.fixture(scope="session")
def printed_by() -> Callable[..., str]:
    """`printed_by(command, folder)`: what a command printed in a folder, once it has succeeded."""

    def run(command: Sequence[str | Path], folder: Path) -> str:
        ended = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    return run


@dataclass(frozen=True)
class Ended:
    """A command that has ended.

    Attributes:
        code: its exit code.
        printed: all that it and its children printed.
        states: each change of a job's state while it ran, as (the job's seed, state).
    """

    code: int
    printed: str
    states: list[tuple[int, str]]


class Workplace:
    """An empty folder to start commands in, so that everything they leave is seen; with a witness of each job."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self.options = options
        self.folder = folder / "cwd"
        self.sweep = self.folder / "multirun" / "sweep"
        self.witness = folder / "witness"
        for path in (self.folder, self.witness / "orders", self.witness / "notes"):
            path.mkdir(parents=True)
        self.log = folder / "printed"
        self.pid_file = folder / "pid"
        self._states: dict[int, str] = {}

    def start(
        self, *overrides: str, command: tuple[str | Path, ...] = (REPOSITORY / "train.py", "-m"), **environment: str
    ) -> "subprocess.Popen[bytes]":
        """Starts a command with the options of this place; `NAME=""` in the environment takes a variable away."""
        paths = {"PYTHONPATH": str(Path(__file__).parent), "WITNESS": str(self.witness)}
        variables = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1", **paths, **environment}
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *map(str, command), *self.options, *overrides],
                cwd=self.folder,
                env={key: value for key, value in variables.items() if value != ""},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid_file.write_text(str(process.pid))
        return process

    def wait(self, process: "subprocess.Popen[bytes]", seconds: float = 300) -> Ended:
        """Waits for a command's end; meanwhile every status is read, and must be readable."""
        states: list[tuple[int, str]] = []
        self.until(lambda: states.extend(self._changed_states()) or process.poll() is not None, seconds)
        states.extend(self._changed_states())
        return Ended(process.returncode, self.printed(), states)

    def run(self, *overrides: str, **options: Any) -> Ended:
        """`start` and `wait`."""
        return self.wait(self.start(*overrides, **options))

    def until(self, true: Callable[[], bool], seconds: float = 60) -> None:
        """Waits until something is true."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.printed()
            time.sleep(0.05)

    def printed(self) -> str:
        """What the last command has printed by now."""
        return self.log.read_text()

    def jobs(self) -> dict[int, RunFolder]:
        """The sweep's jobs that have begun, by their seeds."""
        begun = [RunFolder(path.parent) for path in sorted(self.sweep.glob("*/config.yaml"))]
        return {run.read_config()["seed"]: run for run in begun}

    def states(self) -> dict[int, str]:
        """The jobs' states, by their seeds."""
        return {seed: run.read_status()["state"] for seed, run in self.jobs().items()}

    def _changed_states(self) -> list[tuple[int, str]]:
        before, self._states = self._states, self.states()
        return sorted(self._states.items() - before.items())

    def order(self, words: str, *place: int | str) -> None:
        """Orders what the witness does at ("seed-1", rank, step)."""
        (self.witness / "orders" / ".".join(map(str, place))).write_text(words)

    def forget_orders(self) -> None:
        """Takes all orders back."""
        for path in (self.witness / "orders").iterdir():
            path.unlink()

    def notes(self, run: RunFolder) -> list[dict[str, Any]]:
        """What the ranks of a job noted at each of its starts."""
        paths = sorted((self.witness / "notes").glob(f"{run.path.name}.*"))
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]

    def processes(self) -> list[str]:
        """The process numbers of what runs in this place, until it has released its files."""
        # Every thread is asked: an ending process keeps its locks until the last one has ended, the first or not.
        threads = Path("/proc").glob("[0-9]*/task/[0-9]*")
        return sorted({thread.parts[2] for thread in threads if _runs_in(thread, self.folder)})


def _runs_in(thread: Path, folder: Path) -> bool:
    try:
        return (thread / "cwd").readlink() == folder
    except OSError:  # it has ended, or is another user's
        return False


def bytes_below(folder: Path) -> dict[Path, tuple[int, int, bytes]]:
    """Inode, time and content of every file, but for the text log, which grows at each start."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".log"]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Path], dict[Path, tuple[int, int, bytes]]]:
    """`snapshot(folder)`: what must stay the same in a folder that is let alone."""
    return bytes_below


@pytest.fixture(scope="session")
def two_processes() -> tuple[str, ...]:
    """The options that give each job two processes."""
    return TWO_PROCESSES


@pytest.fixture(scope="session")
def workplace(resumable: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Workplace]:
    """`workplace(*options)`: a place for a sweep named `sweep` of jobs that take five steps and save every second."""

    def make(*options: str) -> Workplace:
        common = [
            *resumable,
            "model.dropout=0",  # the one thing that each process draws for itself
            "metrics.num_samples=64",
            "metrics.chunk_size=16",
            "trainer.max_steps=5",
            "callbacks.checkpointing.every_n_steps=2",
            "+callbacks.witness._target_=witness.Witness",
            "name=sweep",
        ]
        return Workplace(tmp_path_factory.mktemp("workplace"), [*common, *options])

    return make


@pytest.fixture(scope="session")
def by_one(workplace: Callable[..., Workplace]) -> Workplace:
    """The place of an undisturbed sweep of seeds 0 and 1 with a process per job."""
    place = workplace()
    ended = place.run("seed=0,1")
    assert ended.code == 0, ended.printed
    return place


@pytest.fixture(scope="session")
def by_two(workplace: Callable[..., Workplace]) -> Workplace:
    """The place of an undisturbed sweep of seeds 0 and 1 with two processes per job."""
    place = workplace(*TWO_PROCESSES)
    ended = place.run("seed=0,1")
    assert ended.code == 0, ended.printed
    return place
