"""A new run that starts from the weights of another one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ddpm_lightning.runs.build import check_buildable
from ddpm_lightning.runs.exported import write_exported
from ddpm_lightning.runs.initial_weights import load_initial_weights
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.saved_model import read_trained
from ddpm_lightning.training.checkpoint import read_checkpoint
from ddpm_lightning.verbs.train import train

WORDS = ("callbacks=minimal", "logger=none")


@pytest.fixture
def source(compose_verb: Callable, tiny_options: list[str], tiny_environment: None, tmp_path: Path) -> RunFolder:
    """A run of three steps, whose average is not its raw weights."""
    folder = tmp_path / "source"
    train(compose_verb("train", *tiny_options, *WORDS, folder=folder))
    return RunFolder(folder)


def weights_of(run: RunFolder, kind: str) -> dict[str, Tensor]:
    """The network's weights in a run's last checkpoint."""
    checkpoint = read_checkpoint(run.last_checkpoint)
    if kind == "ema":
        return dict(checkpoint["ema"]["network"])
    prefix = "denoiser.network."
    return {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}


def equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("words", "kind"), [([], "ema"), (["init_weights=raw"], "raw"), (["init_weights=ema"], "ema")])
@pytest.mark.parametrize("origin", ["run", "checkpoint"])
def test_network_and_average_start_from_them(
    source: RunFolder, tiny_run: Callable, words: list[str], kind: str, origin: str
) -> None:
    path = source.path if origin == "run" else source.last_checkpoint
    run = tiny_run(f"init_from={path}", *words)
    load_initial_weights(run.module, run.config)
    assert equal(run.module.network.state_dict(), weights_of(source, kind))
    assert equal(run.module.ema.network.state_dict(), weights_of(source, kind))
    assert not equal(weights_of(source, "raw"), weights_of(source, "ema")), "the test would show nothing"
    assert run.module.ema.num_updates == 0


def test_an_export_has_one_kind_of_weights(source: RunFolder, tiny_run: Callable, tmp_path: Path) -> None:
    write_exported(read_trained(source.path, weights="raw"), tmp_path / "exported")
    run = tiny_run(f"init_from={tmp_path / 'exported'}")
    load_initial_weights(run.module, run.config)
    assert equal(run.module.network.state_dict(), weights_of(source, "raw"))
    run = tiny_run(f"init_from={tmp_path / 'exported'}", "init_weights=ema")
    with pytest.raises(ValueError, match="has the raw weights only: leave out init_weights=ema"):
        load_initial_weights(run.module, run.config)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.channels=[16,32]"], r"not those of this network: model\.channels=\[16, 16\] there, \[16, 32\] here"),
        (["model.num_classes=10"], r"model\.num_classes=None there, 10 here"),
        (["self_conditioning=true"], "self_conditioning=False there, True here"),
        (
            ["variance=learned_range", "loss=hybrid", "timesteps=uniform_discrete"],
            "variance=FixedVariance there, LearnedRange here",
        ),
        (["ema=none", "init_weights=ema", "init_from=null"], "init_weights=ema says which .*: set init_from=RUN too"),
        (["init_from=nowhere"], "there is no checkpoint or run folder nowhere"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    source: RunFolder, tiny_run: Callable, words: list[str], message: str
) -> None:
    run = tiny_run(f"init_from={source.path}", *words)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        check_buildable(run.config)


def test_a_run_continues_without_the_one_it_started_from(
    source: RunFolder, compose_verb: Callable, tiny_options: list[str], tmp_path: Path
) -> None:
    words = [*tiny_options, *WORDS, f"init_from={source.path}", "optimizer.lr=0"]
    theirs = weights_of(source, "ema")
    train(compose_verb("train", *words))
    shutil.rmtree(source.path)
    run = RunFolder(tmp_path / "run")
    train(compose_verb("train", f"resume={run.path}", "trainer.max_steps=5"))
    checkpoint = read_checkpoint(run.last_checkpoint)
    assert checkpoint["global_step"] == 5
    assert equal(weights_of(run, "raw"), theirs), "a learning rate of 0 leaves the weights as they were"
