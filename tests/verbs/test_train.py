"""A run that is resumed, done, corrected or moved to another machine."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from ddpm_lightning.runs.config import RunConfig
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.checkpoint import read_checkpoint
from ddpm_lightning.verbs.train import train


@pytest.fixture
def done(compose_verb: Callable, tiny_options: list[str], tiny_environment: None, tmp_path: Path) -> RunFolder:
    """A run that is done after 3 steps."""
    train(compose_verb("train", *tiny_options, "callbacks=minimal", "logger=none"))
    return RunFolder(tmp_path / "run")


def test_a_run_that_is_done_has_its_scores_at_hand(
    done: RunFolder, compose_verb: Callable, tiny_options: list[str]
) -> None:
    before = done.status_file.stat().st_mtime_ns
    scores = train(compose_verb("train", *tiny_options, "callbacks=minimal", "logger=none"))
    assert scores == done.read_status()["scores"]
    assert scores["test/loss"] > 0
    assert done.status_file.stat().st_mtime_ns == before


@pytest.mark.parametrize("state", ["done", "interrupted"])
def test_a_damaged_checkpoint_is_not_continued_from(done: RunFolder, compose_verb: Callable, state: str) -> None:
    train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=5"))
    done.write_status(state, scores={})
    whole = done.last_checkpoint.read_bytes()
    done.last_checkpoint.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    status, config = done.status_file.read_bytes(), done.config_file.read_bytes()
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged .*previous\.ckpt, of step 3, is whole: .*cp "):
        train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=6"))
    done.last_checkpoint.unlink()
    with pytest.raises(ValueError, match=r"last\.ckpt is missing, and previous\.ckpt is there|kept no checkpoint"):
        train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=6"))
    assert (done.status_file.read_bytes(), done.config_file.read_bytes()) == (status, config)
    done.previous_checkpoint.rename(done.last_checkpoint)
    train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=6"))
    assert read_checkpoint(done.last_checkpoint)["global_step"] == 6


def test_a_run_that_is_done_can_train_longer(done: RunFolder, compose_verb: Callable) -> None:
    train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=5"))
    assert read_checkpoint(done.last_checkpoint)["global_step"] == 5
    assert done.read_config()["trainer"]["max_steps"] == 5
    assert done.read_config()["hydra"]["options"]["trainer.max_steps"] == "5", "what a report reads"
    status = done.read_status()
    assert (status["state"], status["resumed"]) == ("done", True)


def test_a_refused_command_leaves_the_run_as_it_was(done: RunFolder, compose_verb: Callable) -> None:
    before = done.config_file.read_bytes()
    with pytest.raises(ValueError, match="num_nodes=2"):
        train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=5", "trainer.num_nodes=2"))
    assert done.config_file.read_bytes() == before
    train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=5"))
    assert read_checkpoint(done.last_checkpoint)["global_step"] == 5


def test_a_resumed_run_may_change_its_machine_and_its_observers(done: RunFolder, compose_verb: Callable) -> None:
    words = [
        "trainer.max_steps=4",
        "trainer=cpu",
        "dataset.num_workers=1",
        "callbacks=[cost,checkpointing]",
        "logger=csv",
    ]
    before = done.read_config()
    train(compose_verb("train", f"resume={done.path}", *words))
    after = done.read_config()
    assert set(after["callbacks"]) == {"cost", "checkpointing"} and set(after["logger"]) == {"csv"}
    assert after["dataset"] == before["dataset"] | {"num_workers": 1}
    assert after["trainer"] == before["trainer"] | {"max_steps": 4}, "the choice of a trainer says nothing of the rest"
    assert after["model"] == before["model"]


def test_what_the_run_has_already_may_be_said_again(done: RunFolder, compose_verb: Callable) -> None:
    words = ["schedule=cosine", "seed=0", "sampler.steps=2"]
    assert train(compose_verb("train", f"resume={done.path}", *words)) == done.read_status()["scores"]


@pytest.mark.parametrize(
    "word", ["optimizer.lr=0.1", "seed=1", "schedule=linear", "debug=one_batch", "trainer.precision=64"]
)
def test_what_would_make_it_another_run_may_not_change(done: RunFolder, compose_verb: Callable, word: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{word} would make it another run\. .*may change: .*trainer\.devices.*logger"
    ):
        train(compose_verb("train", f"resume={done.path}", word))


def test_the_corrected_command_takes_over_from_one_that_failed(
    compose_verb: Callable, tiny_options: list[str], tmp_path: Path
) -> None:
    options = [*tiny_options, "callbacks=minimal", "logger=csv"]
    with pytest.raises(FloatingPointError):
        train(compose_verb("train", *options, "optimizer.lr=1e30"))
    run = RunFolder(tmp_path / "run")
    assert (run.read_status()["state"], run.read_config()["optimizer"]["lr"]) == ("failed", 1e30)
    train(compose_verb("train", *options, "optimizer.lr=1e-3"))
    assert (run.read_status()["state"], run.read_config()["optimizer"]["lr"]) == ("done", 1e-3)
    assert len(list(run.path.glob("csv/version_*"))) == 1, "the curves of the two would mix"
    assert len(list(run.path.glob("failed-*/csv"))) == 1
    with pytest.raises(FileExistsError, match=r"optimizer\.lr"):
        train(compose_verb("train", *options, "optimizer.lr=1e30"))


def test_a_run_keeps_its_number_format_on_another_machine(
    compose_verb: Callable, tiny_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [word for word in tiny_options if "precision" not in word]
    options += ["callbacks=minimal", "logger=none", "trainer.max_steps=1"]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False}, raising=False)
    scores = train(compose_verb("train", *options))
    assert RunFolder(tmp_path / "run").read_config()["trainer"]["precision"] == "32-true"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert train(compose_verb("train", *options)) == scores
    with pytest.raises(FileExistsError, match=r"trainer\.precision \(32-true there, bf16-mixed here\)"):
        train(compose_verb("train", *options, "trainer.precision=bf16-mixed"))


def test_what_refers_to_a_changed_option_changes_with_it(
    done: RunFolder, compose_verb: Callable, tmp_path: Path
) -> None:
    words = ["metrics.every_n_epochs=1", "metrics.chunk_size=8", "metrics/features=inception"]
    with pytest.raises(ValueError, match="metrics/features=inception would make it another run"):
        train(compose_verb("train", f"resume={done.path}", *words))
    callbacks = "callbacks=[checkpointing,generative_metrics]"
    train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=4", callbacks))
    train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=5", *words[:2]))
    config = RunConfig.of(DictConfig(done.read_config())).options
    plan = config.callbacks.generative_metrics.plan
    assert (
        (plan.every_n_epochs, plan.chunk_size) == (1, 8) == (config.metrics.every_n_epochs, config.metrics.chunk_size)
    )
    assert plan.features.dataset == "mnist"


def test_a_run_that_is_done_cannot_be_shortened(done: RunFolder, compose_verb: Callable) -> None:
    with pytest.raises(ValueError, match=r"trained 3 steps, and cannot be shortened to trainer\.max_steps=2"):
        train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=2"))


def test_a_resumed_run_keeps_its_name(done: RunFolder, compose_verb: Callable) -> None:
    with pytest.raises(ValueError, match="in which folder: leave out name=other"):
        train(compose_verb("train", f"resume={done.path}", "name=other"))


def test_a_group_may_be_taken_away_on_resume(done: RunFolder, compose_verb: Callable) -> None:
    train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=4", "~logger"))
    assert done.read_config()["logger"] == {}
