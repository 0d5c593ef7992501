"""`kill -9` of one rank of two, or of the process that started them: the others end, and say how to go on."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from killing.commands import Cold, Started
from killing.place import Place

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to find the ranks"),
]
SECONDS = 60
"""The most that the others may take to end."""
MOMENTS: dict[str, Callable[[Place], bool]] = {
    "training": lambda place: len(place.beats()) > 4,
    "checkpoint writing": lambda place: any(place.sweep.glob("*/checkpoints/.last.*")),
    "scoring": lambda place: any(beat.event == "test" for beat in place.beats()),
}
KILLED = {"training": 0, "checkpoint writing": 0, "scoring": 1}
"""The rank that is killed: the first one is the one that writes."""


@pytest.fixture
def place(tiny_data: Path, tmp_path: Path) -> Place:
    """A sweep of one job on two ranks."""
    options = ("trainer=ddp_cpu", "trainer.devices=2", "trainer.precision=32-true", "model.dropout=0", "seed=0")
    return Place(tmp_path, tiny_data, *options)


def ranks(started: Started) -> dict[int, int]:
    """The processes of the ranks that a command has started, by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            variables = (path / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is another user's
            continue
        mine = f"DDPM_LIGHTNING_PARENT={started.pid}".encode() in variables
        rank = [word.removeprefix(b"RANK=") for word in variables if word.startswith(b"RANK=")]
        if mine and rank:
            found[int(path.name)] = int(rank[0])
    return {rank: process for process, rank in found.items()}


def wait(true: Callable[[], bool], started: Started, seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert started.code() is None
        assert time.monotonic() < end
        time.sleep(0.001)


def until_ended(processes: list[int]) -> float:
    """Waits until none of the processes is left, and returns the seconds that it took."""
    began = time.monotonic()
    while any(Path(f"/proc/{process}").exists() for process in processes):
        assert time.monotonic() - began < SECONDS
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_other_rank_ends_and_the_command_says_how_to_go_on(place: Place, moment: str) -> None:
    started = place.start(Cold)
    wait(lambda: MOMENTS[moment](place), started)
    processes, killed = ranks(started), KILLED[moment]
    assert sorted(processes) == [0, 1]
    os.kill(processes[killed], signal.SIGKILL)
    began = time.monotonic()
    assert started.wait() == 1
    assert time.monotonic() - began < SECONDS
    until_ended(list(processes.values()))
    printed = place.log.read_text()
    assert "Traceback" not in printed
    (message,) = re.findall(r"^\S+ failed: RankError: (.*)$", printed, re.MULTILINE)
    assert message.startswith(f"rank {killed} of this job failed: Signal 9 (SIGKILL)")
    assert "to go on, repeat the command" in message


def test_the_ranks_end_with_the_process_that_started_them(place: Place) -> None:
    started = place.start(Cold)
    wait(lambda: MOMENTS["training"](place), started)
    processes = ranks(started)
    assert sorted(processes) == [0, 1]
    started.kill()
    assert until_ended(list(processes.values())) < 10
