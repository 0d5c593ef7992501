"""A sweep that was stopped, or of which jobs failed: the same command again does what is left, and nothing else."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.sweep.status import JobState, SweepFolder
from ddpm_lightning.training.checkpoint import CONFIG_KEY, read_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc to find processes left behind"),
]

KILLED_SEED = 1
REPOSITORY = Path(__file__).parents[2]


class Resumed(NamedTuple):
    """A sweep of seeds 0, 1, 2 that was killed in its second job, and the same command again.

    Attributes:
        place: where.
        killed: the command that was killed.
        seen: the jobs' states as `sweep.status` then showed them.
        first_job: files of the job that was done then.
        again: the same command.
    """

    place: Any
    killed: Any
    seen: list[JobState]
    first_job: dict[Path, Any]
    again: Any


@pytest.fixture(scope="module", params=["one process", "two processes", "pool"])
def resumed(
    request: pytest.FixtureRequest,
    workplace: Callable[..., Any],
    two_processes: tuple[str, ...],
    snapshot: Callable[[Path], dict[Path, Any]],
) -> Resumed:
    options = {
        "one process": (),
        "two processes": two_processes,
        "pool": ("hydra/launcher=pool", "hydra.launcher.jobs=1"),
    }
    place = workplace(*options[request.param])
    place.order(f"kill {place.pid_file}", f"seed-{KILLED_SEED}", 0, 3)
    killed = place.run("seed=0,1,2")
    place.until(lambda: place.processes() == [], seconds=20)
    seen = [job.state for job in SweepFolder(place.sweep).jobs()]
    first_job = snapshot(place.jobs()[0].path)
    place.forget_orders()
    return Resumed(place, killed, seen, first_job, place.run("seed=0,1,2"))


def test_a_kill_of_the_sweep_leaves_the_rest_to_do(resumed):
    assert resumed.killed.code == -signal.SIGKILL
    assert resumed.killed.states == [(0, "running"), (0, "done"), (1, "running")]
    assert resumed.seen == [JobState.DONE, JobState.INTERRUPTED, JobState.TO_DO]


def test_what_was_done_is_not_done_again(resumed, snapshot):
    place = resumed.place
    assert snapshot(place.jobs()[0].path) == resumed.first_job
    ranks = place.notes(place.jobs()[2])[0]["world_size"]
    assert {seed: len(place.notes(run)) for seed, run in place.jobs().items()} == {0: ranks, 1: 2 * ranks, 2: ranks}


def test_the_killed_job_goes_on_from_its_checkpoint(resumed):
    jobs = resumed.place.jobs()
    assert resumed.again.code == 0, resumed.again.printed
    assert resumed.again.states == [(1, "done"), (2, "running"), (2, "done")]  # 1 was "running" before
    assert {seed: run.read_status()["resumed"] for seed, run in jobs.items()} == {0: False, 1: True, 2: False}


def test_the_sweep_ends_as_an_undisturbed_one(resumed, request, differences):
    jobs = resumed.place.jobs()
    ranks = resumed.place.notes(jobs[0])[0]["world_size"]
    undisturbed = request.getfixturevalue("by_one" if ranks == 1 else "by_two").jobs()
    for seed in (0, KILLED_SEED):
        ours, theirs = outcome(jobs[seed]), outcome(undisturbed[seed])
        assert ours[0]["global_step"] == 5
        assert differences(ours, theirs) == []
    assert differences(outcome(jobs[0]), outcome(jobs[1])) != []


def outcome(run: RunFolder) -> list[Any]:
    """What a finished run computed: weights, average, optimizer and counters; scores; samples."""
    state = read_checkpoint(run.last_checkpoint)
    assert {"state_dict", "ema", "optimizer_states"} <= state.keys()
    del state[CONFIG_KEY]
    with np.load(run.path / "samples.npz") as file:
        return [state, json.loads((run.path / "metrics.json").read_text()), file["images"].tolist()]


def test_the_summary_shows_resumed_jobs_and_the_time_left(resumed):
    printed = resumed.again.printed
    assert "1 done, 1 interrupted, 1 to do\n" in printed  # before the first job
    assert "2 done, 1 of them resumed, 1 to do; about " in printed
    assert "3 done, 1 of them resumed" in printed
    assert "done (resumed)" in printed


@pytest.mark.parametrize(
    "resumed", ["one process", "two processes"], indirect=True
)  # the pool's jobs are processes of their own
def test_a_third_time_nothing_is_left_to_do(resumed, snapshot):
    place = resumed.place
    before = {seed: snapshot(run.path) for seed, run in place.jobs().items()}
    third = place.run("seed=0,1,2")
    assert third.code == 0, third.printed
    assert "3 done" in third.printed
    assert third.states == []
    assert {seed: snapshot(run.path) for seed, run in place.jobs().items()} == before


def test_a_failed_job_is_tried_again_by_the_same_command(workplace):
    place = workplace("callbacks=minimal")
    place.order("raise no luck", "seed-0", 0, 3)
    first = place.run("seed=0,1")
    assert first.code == 1, first.printed
    assert place.states() == {0: "failed", 1: "done"}
    assert place.jobs()[0].read_status()["error"] == "RuntimeError: no luck"
    place.forget_orders()

    second = place.run("seed=0,1")
    assert second.code == 0, second.printed
    assert place.states() == {0: "done", 1: "done"}
    assert {seed: len(place.notes(run)) for seed, run in place.jobs().items()} == {0: 2, 1: 1}


def test_a_second_sweep_in_a_busy_folder_is_refused(workplace, snapshot, tmp_path):
    place = workplace("callbacks=minimal")
    go = tmp_path / "go"
    place.order(f"wait {go}", "seed-0", 0, 3)
    first = place.start("seed=0,1")
    place.until(lambda: place.states() == {0: "running"} and place.notes(place.jobs()[0]) != [])
    place.until(lambda: len(list(place.sweep.glob("*/checkpoints/last.ckpt"))) == 1)
    before = snapshot(place.sweep)
    second = subprocess.run(first.args, cwd=place.folder, capture_output=True, text=True, check=False, timeout=100)
    assert second.returncode == 1
    assert f"another sweep is running in {place.sweep}" in second.stderr
    assert snapshot(place.sweep) == before
    go.touch()
    ended = place.wait(first)
    assert ended.code == 0, ended.printed
    assert place.states() == {0: "done", 1: "done"}


def test_a_job_in_another_runs_folder_is_refused_alone(by_one, workplace, snapshot):
    place = workplace()
    shutil.copytree(by_one.folder / "multirun", place.folder / "multirun", ignore=shutil.ignore_patterns("report"))
    altered, absent = place.jobs()[0], place.jobs()[1]
    altered.config_file.write_text(altered.config_file.read_text().replace("\nseed: 0\n", "\nseed: 17\n"))
    shutil.rmtree(absent.path)
    before = snapshot(altered.path)

    ended = place.run("seed=0,1")
    assert ended.code == 1, ended.printed
    assert f"{altered.path.relative_to(place.folder)} holds another run" in ended.printed
    assert snapshot(altered.path) == before
    assert place.states() == {17: "done", 1: "done"}
    assert not (place.sweep / "report").exists()  # it would be of runs that nobody asked for


INTERRUPTIBLE = (  # a shell starts what is in its background with Ctrl-C switched off
    "-c",
    "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')",
    Path(__file__).parents[2] / "train.py",
    "-m",
)


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_ends_a_sweep_that_then_goes_on(workplace, two_processes, tmp_path, processes):
    place = workplace("callbacks=minimal", *(two_processes if processes == 2 else ()))
    for rank in range(processes):
        place.order(f"wait {tmp_path / 'never'}", "seed-1", rank, 3)
    process = place.start("seed=0,1,2", command=INTERRUPTIBLE)
    place.until(lambda: place.states().get(1) == "running" and place.jobs()[1].last_checkpoint.is_file(), seconds=120)
    process.send_signal(signal.SIGINT)
    ended = place.wait(process)
    assert ended.code == 130, ended.printed
    assert "the same command continues" in ended.printed
    assert place.states() == {0: "done", 1: "interrupted"}
    place.until(lambda: place.processes() == [], seconds=40)

    place.forget_orders()
    again = place.run("seed=0,1,2")
    assert again.code == 0, again.printed
    assert {seed: run.read_status()["resumed"] for seed, run in place.jobs().items()} == {0: False, 1: True, 2: False}


def test_a_finished_sweep_is_finished_for_a_version_with_a_new_option(workplace, tmp_path):
    code = tmp_path / "newer"
    shutil.copytree(REPOSITORY / "conf", code / "conf")
    shutil.copytree(REPOSITORY / "src", code / "src")
    place = workplace("callbacks=minimal", "~callbacks.witness")
    assert place.run("seed=0,1", "optimizer.lr=0.1").code == 0
    before = {path: path.stat().st_mtime_ns for path in place.sweep.glob("*/status")}
    with (code / "conf" / "train.yaml").open("a") as yaml:
        yaml.write("\na_new_option: ${seed}\n")
    paths = f"{code / 'src'}{os.pathsep}{Path(__file__).parent}"
    again = place.run("seed=0,1", "optimizer.lr=0.1", PYTHONPATH=paths)
    assert again.code == 0, again.printed
    assert len(before) == 2
    assert {path: path.stat().st_mtime_ns for path in place.sweep.glob("*/status")} == before
