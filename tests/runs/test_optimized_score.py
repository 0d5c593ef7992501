"""A sweeper that optimises gets a finite number of every run, and a user who misspells its name an error."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, flag_override

from ddpm_lightning.runs.optimized_score import optimises, optimized_score
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.verbs.train import train_for_sweeper

SCORES = {"test/kid": 0.125, "test/fid": float("nan"), "test/loss": float("inf")}


def asks_for(score: str | None) -> DictConfig:
    return DictConfig({"optimize": {"score": score, "penalty": 7}})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_nothing_is_optimised_unless_asked_for(run: RunFolder) -> None:
    run.write_status("done", scores=SCORES)
    for config in (asks_for(None), DictConfig({}), DictConfig({"optimize": None})):
        assert not optimises(config)
        assert optimized_score(config, run) is None


def test_a_finished_run_has_its_score(run: RunFolder) -> None:
    run.write_status("done", scores=SCORES)
    assert optimises(asks_for("test/kid"))
    assert optimized_score(asks_for("test/kid"), run) == 0.125


@pytest.mark.parametrize("score", ["test/fid", "test/loss"])
def test_a_score_that_is_not_finite_is_the_penalty(run: RunFolder, score: str) -> None:
    run.write_status("done", scores=SCORES)
    assert optimized_score(asks_for(score), run) == 7


@pytest.mark.parametrize("state", ["failed", "interrupted", "running", None])
def test_a_run_that_is_not_done_has_the_penalty(run: RunFolder, state: str | None) -> None:
    if state is not None:
        run.write_status(state)
    assert optimized_score(asks_for("test/kid"), run) == 7


def test_an_unknown_score_is_named_with_those_there_are(run: RunFolder) -> None:
    run.write_status("done", scores=SCORES)
    with pytest.raises(
        ValueError, match=r"optimize\.score=kid is not a score .*: it has test/fid, test/kid, test/loss"
    ):
        optimized_score(asks_for("kid"), run)


class TestTrainForSweeper:
    @pytest.fixture
    def trained(
        self, compose_verb: Callable, run: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., float | None]:
        """`trained(*overrides, error=..., in_sweep=...)`: what the sweeper gets of a training that fails so."""

        def make(*overrides: str, error: BaseException | None = None, state: str = "failed", in_sweep: bool = True):
            def train(config: DictConfig) -> None:
                if error is None:
                    run.write_status("done", scores=SCORES)
                    return
                if state != "new":
                    run.write_status(state)
                raise error

            monkeypatch.setattr("ddpm_lightning.verbs.train.train", train)
            config = compose_verb("train", *overrides)
            if in_sweep:
                with flag_override(HydraConfig.instance().cfg.hydra, "readonly", False):
                    HydraConfig.instance().cfg.hydra.job.num = 0
            return train_for_sweeper(config)

        return make

    def test_a_sweeper_gets_the_score(self, trained: Callable) -> None:
        assert trained("optimize.score=test/kid") == 0.125
        assert trained() is None

    def test_a_search_goes_on_after_a_run_that_failed(self, trained: Callable) -> None:
        assert trained("optimize.score=test/kid", "optimize.penalty=3", error=FloatingPointError("NaN")) == 3

    @pytest.mark.parametrize(
        ("overrides", "options"),
        [
            (["optimize.score=test/kid"], {"in_sweep": False}),
            ([], {}),  # a grid: the end of the sweep reports it
            (["optimize.score=test/kid"], {"state": "new"}),  # refused before any work: the options are wrong
        ],
        ids=["one_run", "grid", "refused"],
    )
    def test_elsewhere_an_error_is_an_error(self, trained: Callable, overrides: list[str], options: dict) -> None:
        with pytest.raises(ValueError, match="wrong"):
            trained(*overrides, error=ValueError("wrong"), **options)

    def test_an_interruption_ends_a_search(self, trained: Callable) -> None:
        with pytest.raises(KeyboardInterrupt):
            trained("optimize.score=test/kid", error=KeyboardInterrupt(), state="interrupted")
