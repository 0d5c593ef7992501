"""A sweep whose launcher or sweeper cannot work here is refused before it has a folder."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

SEARCH = ("-m", "experiment=search")


@pytest.fixture
def refused(
    shell_here: Callable, tiny_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """`refused(*words)`: the one sentence of a sweep that was refused and left nothing."""

    def run(*words: str) -> str:
        (tmp_path / "here").mkdir(exist_ok=True)
        place = f"hydra.sweep.dir={tmp_path}/here/sweep"
        result = shell_here("train.py", *tiny_options, place, *words)
        assert result.returncode == 1, result.stdout
        (sentence,) = [line for line in result.stderr.splitlines() if not line.startswith("[")]
        assert not [*(tmp_path / "here").iterdir()]
        return sentence

    return run


def test_slurm_needs_its_commands(refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "hydra/launcher=slurm: there is no srun" in refused("-m", "seed=0,1", "hydra/launcher=slurm")


def test_a_pool_needs_the_gpus_that_it_deals(refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    gpus = ["trainer.accelerator=auto", "hydra/launcher=pool", "hydra.launcher.devices=[0,1]"]
    assert "hydra.launcher.devices has 1, counted from 0, but PyTorch finds 1 GPUs" in refused("-m", "seed=0,1", *gpus)
    printed = refused("-m", "seed=0,1", "hydra/launcher=pool", "hydra.launcher.jobs=0")
    assert "hydra.launcher.jobs must be at least 1, not 0" in printed


class TestOptuna:
    def test_it_must_be_installed(self, refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "optuna", None)
        assert refused(*SEARCH).endswith("hydra/sweeper=optuna needs: pip install 'ddpm-lightning[optuna]'")

    def test_it_needs_a_score(self, refused: Callable) -> None:
        assert "needs to know which: set optimize.score" in refused("-m", "hydra/sweeper=optuna")

    def test_a_database_that_it_cannot_use_is_no_storage(
        self, refused: Callable, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As with Optuna 2 and SQLAlchemy 2, whatever is installed here."""

        def get_storage(url: str) -> None:
            raise AssertionError

        monkeypatch.setattr("optuna.storages.get_storage", get_storage)
        printed = refused(*SEARCH, "hydra.sweeper.storage=sqlite:///study.db")
        assert "does not work with SQLAlchemy" in printed and "'sqlalchemy<2'" in printed

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (
                ModuleNotFoundError("No module named 'psycopg2'", name="psycopg2"),
                "needs psycopg2, which is not",
            ),
            (RuntimeError("unable to open database file\n(Background: ...)"), "(unable to open database file): it is"),
        ],
        ids=["driver", "address"],
    )
    def test_a_database_that_cannot_be_opened_is_named(
        self, refused: Callable, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
    ) -> None:
        def get_storage(url: str) -> None:
            if not url.startswith("sqlite"):
                raise error

        monkeypatch.setattr("optuna.storages.get_storage", get_storage)
        printed = refused(*SEARCH, "hydra.sweeper.storage=postgresql://me:secret@host/studies")
        assert message in printed and "secret" not in printed

    def test_a_score_that_no_run_has_ends_the_search(
        self, shell_here: Callable, tiny_options: list[str], tmp_path: Path
    ) -> None:
        """At once, instead of a penalty for each of its trials."""
        place = f"hydra.sweep.dir={tmp_path}/sweep"
        result = shell_here("train.py", *SEARCH, *tiny_options, place, "optimize.score=test/kid")
        assert result.returncode == 1
        assert "optimize.score=test/kid names a value that this run does not log: it logs" in result.stderr
        assert "test/kid_lenet_mnist" in result.stderr
        assert len([*(tmp_path / "sweep").glob("*/status")]) == 1
