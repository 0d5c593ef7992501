"""The state of a sweep is read from its jobs' folders, a killed job's too."""

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.sweep import status
from ddpm_lightning.sweep.status import Job, JobState, SweepFolder, main, print_table, seconds_left, summary

BEGAN = 1000.0
Write = Callable[..., RunFolder]


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "grid")


@pytest.fixture
def write(sweep: SweepFolder) -> Write:
    """`write("job", "done", seconds=3)`: the status of a job, as the job writes it."""

    def make(job: str, state: str, ended: float | None = None, **details: Any) -> RunFolder:
        run = RunFolder(sweep.path / job)
        run.write_status(state, **details)
        if ended is not None:
            os.utime(run.status_file, (ended, ended))
        return run

    return make


def ended(state: JobState, at: float = 0.0) -> Job:
    return Job("job", state, changed=at)


def test_jobs_are_the_planned_ones_in_the_plans_order(sweep: SweepFolder, write: Write) -> None:
    sweep.write_plan(["c", "a", "b"], ["seed=0,1,2"])
    write("a", "done", seconds=3.5, resumed=True)
    write("b", "failed", error="NaN")
    write("from_an_earlier_sweep", "done")
    c, a, b = sweep.jobs()
    assert c == Job("c", JobState.TO_DO)
    assert (a.folder, a.state, a.resumed, a.seconds) == ("a", JobState.DONE, True, 3.5)
    assert (b.folder, b.state, b.error) == ("b", JobState.FAILED, "NaN")
    assert sweep.read_plan()["command"] == ["seed=0,1,2"]


def test_where_the_plan_is_open_jobs_are_those_that_have_begun(sweep: SweepFolder, write: Write) -> None:
    sweep.write_plan(None, [])
    assert sweep.jobs() == []
    write("b", "done")
    write("a", "failed")
    (sweep.path / "report").mkdir()
    assert [(job.folder, job.state) for job in sweep.jobs()] == [("a", JobState.FAILED), ("b", JobState.DONE)]


def test_a_running_job_that_nobody_works_at_was_interrupted(sweep: SweepFolder, write: Write) -> None:
    sweep.write_plan(["at_work", "killed", "told_to_end"], [])
    write("killed", "running")
    write("told_to_end", "interrupted")
    with write("at_work", "running").locked():
        states = [job.state for job in sweep.jobs()]
    assert states == [JobState.RUNNING, JobState.INTERRUPTED, JobState.INTERRUPTED]
    assert sweep.jobs()[0].state is JobState.INTERRUPTED


def test_looking_does_not_take_a_folder_away_from_its_job(sweep: SweepFolder, write: Write) -> None:
    sweep.write_plan(["job"], [])
    run = write("job", "running")
    sweep.jobs()
    with run.locked():
        sweep.jobs()
        assert sweep.jobs()[0].state is JobState.RUNNING


@pytest.mark.parametrize(
    ("jobs", "now", "left"),
    [
        ([ended(JobState.TO_DO)] * 3, 1060, None),
        ([ended(JobState.DONE, 1060), *[ended(JobState.TO_DO)] * 3], 1060, 180),
        ([ended(JobState.DONE, 1030), ended(JobState.FAILED, 1060), ended(JobState.RUNNING)], 1060, 30),
        # Found done: it says nothing of the pace.
        ([ended(JobState.DONE, 900), ended(JobState.DONE, 1060), ended(JobState.INTERRUPTED, 950)], 1060, 60),
        ([ended(JobState.DONE, 900), ended(JobState.TO_DO)], 1060, None),
        # Failed before: it is tried again.
        ([ended(JobState.DONE, 1040), ended(JobState.FAILED, 900)], 1040, 40),
        ([ended(JobState.DONE, 1040), ended(JobState.FAILED, 1060)], 1060, 0),
    ],
)
def test_the_time_left_is_by_the_pace_of_this_start(jobs: list[Job], now: float, left: float | None) -> None:
    assert seconds_left(jobs, BEGAN, now) == left


def test_the_summary_counts_jobs_and_the_time_left(
    sweep: SweepFolder, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status.time, "time", lambda: BEGAN)
    sweep.write_plan([f"job{number}" for number in range(7)], [])
    monkeypatch.setattr(status.time, "time", lambda: BEGAN + 30)
    assert summary(sweep) == "7 to do"
    with ExitStack() as held:
        held.enter_context(write("job0", "running").locked())
        write("job1", "done", ended=BEGAN + 10)
        write("job2", "done", ended=BEGAN + 20, resumed=True)
        write("job3", "failed", ended=BEGAN + 30)
        write("job4", "interrupted")
        printed = summary(sweep)
    assert printed == "2 done, 1 of them resumed, 1 failed, 1 interrupted, 1 running, 2 to do; about 40.0 s left"


def test_a_finished_sweep_has_no_time_left(sweep: SweepFolder, write: Write) -> None:
    sweep.write_plan(["job"], [])
    write("job", "done")
    assert summary(sweep) == "1 done"


def test_of_a_plan_that_is_open_the_time_left_is_not_known(sweep: SweepFolder, write: Write) -> None:
    sweep.write_plan(None, [])
    write("a", "done", ended=sweep.read_plan()["began"] + 10)
    write("b", "interrupted")
    assert summary(sweep) == "1 done, 1 interrupted"


def test_the_table_has_a_line_for_each_job(
    sweep: SweepFolder, write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    sweep.write_plan(["seed-0", "seed-1", "seed-2", "seed-3"], [])
    write("seed-0", "done", seconds=200, resumed=True)
    write("seed-1", "failed", error="no [/disk]\nand more of it")
    write("seed-2", "failed", error="")
    print_table(sweep)
    lines = capsys.readouterr().out.splitlines()

    def line(word: str) -> str:
        (found,) = [line for line in lines if word in line]
        return found

    assert "done (resumed)" in line("seed-0") and "3 min 20 s" in line("seed-0")
    assert "failed: no [/disk]" in line("seed-1") and "and more" not in "".join(lines)
    assert "failed " in line("seed-2")
    assert "to do" in line("seed-3")
    assert lines[-1].startswith("1 done, 1 of them resumed, 2 failed, 1 to do")


def test_at_the_command_line(sweep: SweepFolder, write: Write, shell: Callable) -> None:
    sweep.write_plan(["seed-0"], [])
    write("seed-0", "done")
    printed = shell("-m", "ddpm_lightning.sweep.status", str(sweep.path))
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout.rstrip().endswith("1 done")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing/here"], r"nothing/here is not the folder of a sweep: it holds no sweep\.json"),
        ([], r"python -m ddpm_lightning\.sweep\.status SWEEP"),
        (["a", "b"], r"python -m ddpm_lightning\.sweep\.status SWEEP"),
    ],
)
def test_what_is_no_sweep_is_told(monkeypatch: pytest.MonkeyPatch, words: list[str], message: str) -> None:
    monkeypatch.setattr(sys, "argv", ["status", *words])
    with pytest.raises(SystemExit, match=message):
        main()
