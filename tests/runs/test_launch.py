"""A job has as many ranks as it needs, whoever starts them, and leaves no trace of them for the next one."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig
from torch.distributed.elastic.multiprocessing.api import SignalException

from ddpm_lightning.processes import PARENT_VARIABLE, threads_for_each
from ddpm_lightning.runs import launch
from ddpm_lightning.runs.failure import RankError
from ddpm_lightning.runs.launch import ranks_to_start, run_ranks
from ddpm_lightning.runs.ranks import global_rank, is_own_rank, started_from_outside

TORCHRUN = {"TORCHELASTIC_RUN_ID": "a", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}
OWN_RANK = {**TORCHRUN, PARENT_VARIABLE: "123"}
SRUN = {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2"}
SRUN_OF_ONE = {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}
SBATCH = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}  # a script, in which nothing was started
JOB_OF_A_POOL = {PARENT_VARIABLE: "123"}


@pytest.fixture(autouse=True)
def no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shell."""
    for variable in {*OWN_RANK, *SRUN, *SBATCH}:
        monkeypatch.delenv(variable, raising=False)


def set_all(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)


def trainer(devices: object = 1, num_nodes: int = 1, accelerator: str = "cpu") -> DictConfig:
    return DictConfig({"accelerator": accelerator, "devices": devices, "num_nodes": num_nodes})


@pytest.mark.parametrize(
    ("environment", "outside", "own", "rank"),
    [
        ({}, False, False, 0),
        (TORCHRUN, True, False, 3),
        (OWN_RANK, True, True, 3),
        (SRUN, True, False, 2),
        (SRUN_OF_ONE, False, False, 0),
        (SBATCH, False, False, 0),
        (JOB_OF_A_POOL, False, False, 0),
    ],
    ids=["shell", "torchrun", "own_rank", "srun", "srun_of_one", "sbatch", "pool"],
)
def test_a_process_knows_who_started_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], outside: bool, own: bool, rank: int
) -> None:
    set_all(monkeypatch, environment)
    assert (started_from_outside(), is_own_rank(), global_rank()) == (outside, own, rank)
    assert ranks_to_start(trainer(devices=2)) == (1 if outside else 2)


@pytest.mark.parametrize(("devices", "count"), [(1, 1), (2, 2), ("3", 3)])
def test_a_rank_for_each_device(devices: object, count: int) -> None:
    assert ranks_to_start(trainer(devices)) == count


@pytest.mark.parametrize("accelerator", ["cuda", "gpu"])
@pytest.mark.parametrize(("devices", "count"), [(-1, 4), (2, 2), ([0, 3], 2), ("1,2,3", 3), ([1], 1)])
def test_a_rank_for_each_gpu_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, devices: object, count: int
) -> None:
    monkeypatch.setattr("lightning.fabric.accelerators.cuda.num_cuda_devices", lambda: 4)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert ranks_to_start(trainer(devices, accelerator=accelerator)) == count


@pytest.mark.parametrize(
    "options",
    [{"devices": [0, 1]}, {"devices": 0}, {"devices": 9, "accelerator": "cuda"}, {"accelerator": "abacus"}],
    ids=str,
)
def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch, options: dict) -> None:
    monkeypatch.setattr("lightning.fabric.accelerators.cuda.num_cuda_devices", lambda: 1)
    with pytest.raises(ValueError, match=r"trainer\.accelerator=\w+ with trainer\.devices=.* is not possible: "):
        ranks_to_start(trainer(**options))


def test_several_nodes_need_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"trainer\.num_nodes=2: .* with srun or torchrun"):
        ranks_to_start(trainer(num_nodes=2))
    set_all(monkeypatch, SRUN)
    assert ranks_to_start(trainer(num_nodes=2)) == 1


RECORDS_ITS_PLACE = """
import os, sys
from pathlib import Path
names = ("WORLD_SIZE", "OMP_NUM_THREADS", "DDPM_LIGHTNING_PARENT", "PARENTS_OWN")
Path(sys.argv[1], os.environ["RANK"]).write_text(" ".join([os.environ[name] for name in names] + sys.argv[2:]))
"""
RANK_1_FAILS = """
import os, time
if os.environ["RANK"] == "0":
    time.sleep(60)  # far longer than the test may take: it must be ended
from ddpm_lightning.runs.launch import record_error
def lose(): raise ValueError("the loss is gone")
try:
    lose()
except ValueError as error:
    record_error(error)
    raise
"""
RANK_1_IS_SENT = """
import os, signal, sys, time
if os.environ["RANK"] == "1":
    os.kill(os.getpid(), signal.{signal})
time.sleep(60)
"""
# What is a mere consequence ends before its cause, or within the same glance of the agent at its processes.
BOTH_FAIL = """
import json, os, signal, sys, time
from pathlib import Path
def record(text):
    extra = {"py_callstack": f"Traceback of {text}", "timestamp": str(int(time.time()))}
    written = Path(os.environ["TORCHELASTIC_ERROR_FILE"])
    written.write_text(json.dumps({"message": {"message": text, "extraInfo": extra}}))
begun = Path(sys.argv[1], "begun")
if os.environ["RANK"] == "1":
    CAUSE
while not begun.exists():
    time.sleep(0.001)
time.sleep(0.02)
record("the connection is lost")
sys.exit(1)
"""


@pytest.fixture
def run_script(compose_verb: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`run_script(program)`: the program, as if it were the verb, on two ranks; checks what is left behind."""
    compose_verb("train")
    monkeypatch.setenv("PARENTS_OWN", "here")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def run(program: str) -> None:
        script = tmp_path / "script.py"
        script.write_text(program)
        monkeypatch.setattr(launch, "job_command", lambda *_: [sys.executable, str(script), str(tmp_path), "word"])
        before = dict(os.environ), surroundings()
        try:
            run_ranks(2)
        finally:
            assert (dict(os.environ), surroundings()) == before

    return run


def surroundings() -> list[object]:
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)]


def test_all_ranks_run_the_job_and_leave_nothing_behind(run_script: Callable, tmp_path: Path) -> None:
    run_script(RECORDS_ITS_PLACE)
    written = [(tmp_path / rank).read_text().split() for rank in ("0", "1")]
    threads = threads_for_each(2)["OMP_NUM_THREADS"]
    assert written == [["2", threads, str(os.getpid()), "here", "word"]] * 2


def test_a_ranks_error_comes_back_and_the_others_end(run_script: Callable) -> None:
    with pytest.raises(RankError, match="rank 1 of this job failed: ValueError: the loss is gone") as raised:
        run_script(RANK_1_FAILS)
    assert "Traceback (most recent call last)" in raised.value.details
    assert "in lose" in raised.value.details


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
def test_a_killed_rank_is_told(run_script: Callable, number: str) -> None:
    with pytest.raises(RankError, match=f"rank 1 of this job failed: .*{number}") as raised:
        run_script(RANK_1_IS_SENT.replace("{signal}", number))
    assert number in raised.value.details


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ("begun.touch(); os.kill(os.getpid(), signal.SIGKILL)", "rank 1 .*SIGKILL"),
        ("record('NaN'); begun.touch(); time.sleep(2); sys.exit(1)", "rank 1 .*: NaN"),
    ],
    ids=["killed", "raises"],
)
def test_the_cause_is_told_and_not_a_consequence(run_script: Callable, cause: str, message: str) -> None:
    with pytest.raises(RankError, match=message):
        run_script(BOTH_FAIL.replace("CAUSE", cause))


@pytest.mark.parametrize(
    ("number", "expected", "code"), [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, 143)]
)
def test_a_signal_ends_the_sweep_as_it_would_without_ranks(
    run_script: Callable,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    expected: type[BaseException],
    code: int | None,
) -> None:
    def signalled(*_: object) -> Callable:
        def start(*_: object) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as the agent, which sets handlers of its own
            os.environ["LEFT_BEHIND"] = "yes"
            raise SignalException("told to end", number)

        return start

    monkeypatch.setattr(launch, "elastic_launch", signalled)
    with pytest.raises(expected) as raised:
        run_script("")
    assert getattr(raised.value, "code", None) == code
