"""The record of a job says at any moment how far it is, and there is one record whoever does the work."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from omegaconf import DictConfig

from ddpm_lightning.processes import PARENT_VARIABLE
from ddpm_lightning.runs import job
from ddpm_lightning.runs.config import RunConfig
from ddpm_lightning.runs.failure import RankError
from ddpm_lightning.runs.job import run_job
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.stored_config import CONFIG_VERSION

STORED = {"config_version": CONFIG_VERSION, "seed": 0, "name": None}
CONFIG = RunConfig(DictConfig({}), STORED)
SCORES = {"test/loss": 0.25}
RANK = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    for variable in (PARENT_VARIABLE, "TORCHELASTIC_RUN_ID", "TORCHELASTIC_ERROR_FILE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(variable, raising=False)
    return RunFolder(tmp_path / "run")


def is_locked(run: RunFolder) -> bool:
    try:
        with FileLock(run.lock_file, timeout=0):
            return False
    except Timeout:
        return True


def failing(error: BaseException) -> Callable[[], dict[str, float]]:
    def work() -> dict[str, float]:
        raise error

    return work


def test_a_job_is_running_while_it_works_and_done_with_its_scores(run: RunFolder) -> None:
    seen = []

    def work() -> dict[str, float]:
        seen.append((run.read_status(), run.read_config(), is_locked(run)))
        return SCORES

    assert run_job(run, CONFIG, 1, work) == SCORES
    assert seen == [({"state": "running", "resumed": False}, STORED, True)]
    status = run.read_status()
    assert 0 <= status.pop("seconds") < 60
    assert status == {"state": "done", "scores": SCORES, "resumed": False}
    assert not is_locked(run)


def test_a_job_that_goes_on_from_a_checkpoint_says_so(run: RunFolder) -> None:
    run.last_checkpoint.parent.mkdir(parents=True)
    run.last_checkpoint.touch()
    run_job(run, CONFIG, 1, lambda: SCORES)
    assert run.read_status()["resumed"]


def test_an_error_is_on_record_with_its_traceback(run: RunFolder) -> None:
    with pytest.raises(ValueError, match="the loss is NaN"):
        run_job(run, CONFIG, 1, failing(ValueError("the loss is NaN")))
    status = run.read_status()
    assert (status["state"], status["error"]) == ("failed", "ValueError: the loss is NaN")
    assert "Traceback" in status["traceback"] and "in work" in status["traceback"]
    assert not is_locked(run)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(128 + signal.SIGTERM)], ids=repr)
def test_a_job_that_is_told_to_end_was_interrupted_and_not_wrong(run: RunFolder, error: BaseException) -> None:
    with pytest.raises(type(error)):
        run_job(run, CONFIG, 1, failing(error))
    assert run.read_status() == {"state": "interrupted", "resumed": False}


def test_a_failed_job_can_be_run_again(run: RunFolder) -> None:
    with pytest.raises(OSError, match="no disk"):
        run_job(run, CONFIG, 1, failing(OSError("no disk")))
    run_job(run, CONFIG, 1, lambda: SCORES)
    assert run.read_status()["state"] == "done"
    assert "error" not in run.read_status()


def test_the_folder_of_another_run_is_left_as_it_is(run: RunFolder) -> None:
    other = STORED | {"seed": 1}
    run.write_config(other)
    run.write_status("done", scores={})
    with pytest.raises(FileExistsError, match="holds another run"):
        run_job(run, CONFIG, 1, failing(AssertionError("no work is to be done")))
    assert (run.read_status(), run.read_config()) == ({"state": "done", "scores": {}}, other)


def test_a_folder_where_another_process_works_is_left_to_it(run: RunFolder) -> None:
    run.path.mkdir()
    with run.locked(), pytest.raises(ValueError, match="another process is working"):
        run_job(run, CONFIG, 1, failing(AssertionError("no work is to be done")))
    assert run.read_status() == {"state": "new"}


class TestRanksFromOutside:
    """As torchrun starts them: all call `run_job`, the first keeps the record."""

    @pytest.fixture(autouse=True)
    def torchrun(self, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable, value in RANK.items():
            monkeypatch.setenv(variable, value)

    def test_the_first_one_keeps_the_record(self, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RANK", "0")
        assert run_job(run, CONFIG, 1, lambda: SCORES) == SCORES
        assert run.read_status()["state"] == "done"

    def test_the_others_write_nothing(self, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RANK", "1")
        run.path.mkdir()
        with run.locked():  # the first one has it
            assert run_job(run, CONFIG, 1, lambda: SCORES) == SCORES
            with pytest.raises(SystemExit):
                run_job(run, CONFIG, 1, failing(ValueError("lost")))
        assert not run.status_file.exists() and not run.config_file.exists()

    @pytest.mark.parametrize("rank", ["0", "1"])
    def test_a_rank_that_fails_ends_with_its_traceback(
        self, run: RunFolder, monkeypatch: pytest.MonkeyPatch, rank: str
    ) -> None:
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit, match=r"(?s)Traceback .* in work.*ValueError: lost"):
            run_job(run, CONFIG, 1, failing(ValueError("lost")))
        assert run.read_status()["state"] == ("failed" if rank == "0" else "new")


class TestRanksOfItsOwn:
    """The process that starts the ranks keeps the record; the ranks' scores come through it."""

    def test_the_scores_are_the_first_ranks(self, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        started = []

        def ranks(count: int) -> None:
            assert is_locked(run)
            assert run.read_status()["state"] == "running"
            started.append(count)
            for rank, scores in (("0", SCORES), ("1", {"test/loss": 9.0})):
                with monkeypatch.context() as place:
                    for variable, value in {**RANK, PARENT_VARIABLE: str(os.getpid()), "RANK": rank}.items():
                        place.setenv(variable, value)
                    run_job(run, CONFIG, 1, scores.copy)

        monkeypatch.setattr(job, "run_ranks", ranks)
        assert run_job(run, CONFIG, 2, failing(AssertionError("the ranks do the work"))) == SCORES
        assert started == [2]
        assert run.read_status()["state"] == "done" and run.read_status()["scores"] == SCORES

    def test_a_ranks_error_is_on_record_with_the_ranks_traceback(
        self, run: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def ranks(count: int) -> None:
            raise RankError("rank 1 of this job failed: ValueError: lost", "Traceback of rank 1")

        monkeypatch.setattr(job, "run_ranks", ranks)
        with pytest.raises(RankError):
            run_job(run, CONFIG, 2, lambda: SCORES)
        status = run.read_status()
        assert status["error"] == "RankError: rank 1 of this job failed: ValueError: lost"
        assert status["traceback"] == "Traceback of rank 1"

    def test_a_rank_reports_its_error_and_writes_no_record(
        self, run: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        recorded = tmp_path / "error.json"
        place = {**RANK, PARENT_VARIABLE: "1", "RANK": "0", "TORCHELASTIC_ERROR_FILE": str(recorded)}
        for variable, value in place.items():
            monkeypatch.setenv(variable, value)
        with pytest.raises(ValueError, match="lost"):
            run_job(run, CONFIG, 1, failing(ValueError("lost")))
        assert json.loads(recorded.read_text())["message"]["message"] == "ValueError: lost"
        assert not run.path.exists()
