"""The other ranks of a job run that very job, and the next job of a sweep starts clean."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from ddpm_lightning.training.launch import RANK_VARIABLES, is_main_process, rank_command, release_processes

LAUNCHERS = ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID")
PLACES = ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID")


@pytest.fixture(autouse=True)
def no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shell; what a test or the code changes is put back."""
    for variable in {*RANK_VARIABLES, *LAUNCHERS, *PLACES}:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


@pytest.mark.parametrize("name", ["run", "a b,c=d", "it's", r"back\slash", "[brackets] {braces}", "müller"])
def test_a_rank_runs_this_job_in_this_folder_and_not_the_sweep(
    compose_verb: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "seed=1,2", "loss=mse,mae"])
    compose_verb("train", "seed=2", "loss=mae", folder=tmp_path / name)
    python, script, *words = rank_command()
    assert python == sys.executable
    assert script == str(Path.cwd() / "train.py")
    parsed = {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(words)}
    assert parsed == {
        "seed": 2,
        "loss": "mae",
        "hydra.run.dir": str(tmp_path / name),
        "hydra.output_subdir": None,
    }


def test_only_the_first_process_is_the_main_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_main_process()
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert is_main_process()
    for variable in PLACES:
        with monkeypatch.context() as other:
            other.setenv(variable, "1")
            assert not is_main_process()


def set_ranks(monkeypatch: pytest.MonkeyPatch, **others: str) -> dict[str, str]:
    ranks = dict.fromkeys(RANK_VARIABLES, "0") | others
    for variable, value in ranks.items():
        monkeypatch.setenv(variable, value)
    return ranks


def ranks_now() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in {*RANK_VARIABLES, *LAUNCHERS}}


def test_a_job_takes_its_ranks_back(monkeypatch: pytest.MonkeyPatch) -> None:
    set_ranks(monkeypatch)
    release_processes()
    assert ranks_now() == {}


@pytest.mark.parametrize("somebody_else", [{"TORCHELASTIC_RUN_ID": "1"}, {"SLURM_JOB_ID": "1"}, {"LOCAL_RANK": "1"}])
def test_ranks_that_somebody_else_gave_stay(monkeypatch: pytest.MonkeyPatch, somebody_else: dict[str, str]) -> None:
    given = set_ranks(monkeypatch, **somebody_else)
    release_processes()
    assert ranks_now() == given


def test_the_process_group_ends(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    release_processes()
    assert not torch.distributed.is_initialized()
