"""A run and a sweep that version 1 of the stored configs made still do all that runs and sweeps do.

`fixtures/version_1` holds, of a tiny model of MNIST: `run`, a training of 4 steps; `after_8_steps.safetensors`, the
weights after the version that made it had trained on to 8 steps; and `sweep`, two losses and two seeds, without most of
the checkpoints.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ddpm_lightning.report.collect import collect
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.stored_config import CONFIG_VERSION
from ddpm_lightning.training.checkpoint import read_checkpoint
from ddpm_lightning.verbs.evaluate import evaluate
from ddpm_lightning.verbs.sample import sample
from ddpm_lightning.verbs.train import train

REPOSITORY = Path(__file__).parents[2]
FIXTURES = Path(__file__).parents[1] / "fixtures" / "version_1"
TINY = (
    "model.channels=[8,8]",
    "model.attention_levels=[1]",
    "model.head_channels=8",
    "model.num_classes=10",
    "dataset.batch_size=4",
    "dataset.diagnostic_size=8",
    "dataset.flip=true",
    "sampler.steps=2",
    "optimizer.warmup_steps=1",
    "metrics.num_samples=16",
    "metrics.num_real=16",
    "metrics.kid_subset_size=8",
    "metrics.kid_subsets=4",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=1",
    "callbacks.checkpointing.every_n_steps=2",
)
"""What the command lines of both had in common."""


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    return [f"paths.data_dir={REPOSITORY / 'data'}", f"paths.cache_dir={tmp_path / 'cache'}"]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(shutil.copytree(FIXTURES / "run", tmp_path / "run"))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return shutil.copytree(FIXTURES / "sweep", tmp_path / "multirun" / "sweep")


def tensors(node: dict[str, Any], path: str) -> Iterator[tuple[str, Tensor]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from tensors(value, f"{path}.{key}")
        elif isinstance(value, Tensor):
            yield f"{path}.{key}", value


def test_a_run_resumed_goes_where_it_would_have_gone(run, compose_verb, places):
    train(compose_verb("train", f"resume={run.path}", "trainer.max_steps=8", *places))
    checkpoint = read_checkpoint(run.last_checkpoint)
    assert checkpoint["global_step"] == 8
    trained = dict(tensors(checkpoint["state_dict"], "network")) | dict(tensors(checkpoint["ema"], "ema"))
    expected = load_file(FIXTURES / "after_8_steps.safetensors")
    assert len(expected) > 100
    for name, weights in expected.items():  # to the bit on the machine that made them; processors differ in rounding
        torch.testing.assert_close(trained[name], weights, rtol=1e-3, atol=2e-5, msg=name)
    assert run.read_config()["trainer"]["max_steps"] == 8
    assert f"config_version: {CONFIG_VERSION}" in run.config_file.read_text()


def test_the_command_that_made_a_run_finds_it_done(run, compose_verb, places):
    before = run.status_file.read_bytes()
    scores = train(compose_verb("train", *TINY, "trainer.max_steps=4", *places))
    assert scores == json.loads(before)["scores"]
    assert run.status_file.read_bytes() == before


def test_another_command_is_refused_in_its_folder(run, compose_verb, places):
    with pytest.raises(
        FileExistsError, match=r"another run, which differs in optimizer\.lr \(0\.002 there, 0\.1 here\)"
    ):
        train(compose_verb("train", *TINY, "trainer.max_steps=4", "optimizer.lr=0.1", *places))


@pytest.mark.parametrize("checkpoint", ["run", "sweep/loss-mae_seed-0-02aa1e15/checkpoints/last.ckpt"])
def test_a_checkpoint_has_the_scores_that_it_had(compose_verb, places, tmp_path, checkpoint):
    path = FIXTURES / checkpoint
    made = path if path.is_dir() else path.parents[1]
    evaluate(compose_verb("evaluate", f"checkpoint={path}", "trainer.accelerator=cpu", *places))
    own, again = (json.loads((folder / "metrics.json").read_text()) for folder in (made, tmp_path / "run"))
    assert again["card"] == own["card"]
    assert again["values"] == pytest.approx(own["values"], rel=2e-3)


def test_a_checkpoint_draws_the_samples_that_it_drew(run, compose_verb, places, tmp_path):
    options = ["trainer.accelerator=cpu", "num=16", "chunk_size=16", "format=npz", *places]
    folder = sample(compose_verb("sample", f"checkpoint={run.path}", *options, folder=tmp_path / "drawn"))
    ours, theirs = (np.load(path / "samples.npz")["images"].astype(int) for path in (folder, run.path))
    assert abs(ours - theirs).max() <= 1


def test_a_sweep_is_still_finished(sweep, places, tmp_path, shell_here):
    before = {path: path.stat().st_mtime_ns for path in sweep.glob("*/status")}
    ended = shell_here(
        REPOSITORY / "train.py", "-m", *TINY, "name=sweep", "trainer.max_steps=2", "loss=mae,mse", "seed=0,1", *places,
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert {path: path.stat().st_mtime_ns for path in sweep.glob("*/status")} == before
    assert "4 done" in ended.stdout
    assert (sweep / "report" / "report.html").is_file()


def test_a_sweep_goes_on_with_more_jobs_beside_its_own(sweep, places, tmp_path, shell_here):
    ended = shell_here(
        REPOSITORY / "train.py", "-m", *TINY, "name=sweep", "trainer.max_steps=2", "loss=mae,mse", "seed=0,1",
        "weighting=constant,min_snr", "trainer.accelerator=gpu", *places, cwd=tmp_path,
    )  # fmt: skip
    assert "trainer.accelerator=gpu needs a GPU" in ended.stdout + ended.stderr, "the new jobs cannot begin"
    planned = json.loads((sweep / "sweep.json").read_text())["jobs"]
    done = {path.name for path in sweep.iterdir() if RunFolder(path).read_status()["state"] == "done"}
    assert len(planned) == 8
    assert len(done) == 4 and done < {*planned}


def test_a_sweep_is_reported_by_its_factor(sweep: Path):
    runs = collect([sweep])
    assert sorted((run.options["loss"], run.seed) for run in runs) == [("mae", 0), ("mae", 1), ("mse", 0), ("mse", 1)]
    differing = {key for key in runs[0].options if len({run.options.get(key) for run in runs}) > 1}
    assert differing == {"loss"}


def test_runs_of_both_versions_share_a_table(sweep, compose_verb: Callable, places, tmp_path):
    (made,) = (run for run in sweep.glob("loss-mse_seed-1*"))
    shutil.rmtree(made)
    train(compose_verb("train", *TINY, "trainer.max_steps=2", "loss=mse", "seed=1", *places, folder=made))
    runs = collect([sweep])
    assert len(runs) == 4
    new = next(run for run in runs if (run.options["loss"], run.seed) == ("mse", 1))
    old = next(run for run in runs if (run.options["loss"], run.seed) == ("mse", 0))
    shared = new.options.keys() & old.options.keys() - {"seed"}
    assert {key: new.options[key] for key in shared} == {key: old.options[key] for key in shared}
    assert new.card.flat().keys() == old.card.flat().keys()
