"""A value that cannot be is refused in one sentence, before anything begins, and leaves nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

VERSION_1_RUN = Path(__file__).parents[1] / "fixtures" / "version_1" / "run"


@pytest.fixture
def refused(shell_here: Callable, tiny_options: list[str], tmp_path: Path) -> Callable[..., str]:
    """`refused("train.py", *overrides)`: what was printed when a command was refused that left no run."""

    def run(verb: str, *overrides: str) -> str:
        outputs, sweep = tmp_path / "outputs", tmp_path / "sweep"
        options = tiny_options if verb == "train.py" else []
        places = [f"paths.output_dir={outputs}", f"hydra.sweep.dir={sweep}"]
        result = shell_here(verb, *options, *places, *overrides)
        assert result.returncode == 1, result.stdout
        assert "Traceback" not in result.stderr
        assert not [path for path in (*outputs.rglob("*"), *sweep.rglob("*")) if not path.is_dir()]
        return result.stderr

    return run


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=abc"], "seed must be a whole number, not abc"),
        (["optimizer.lr=fast"], "optimizer.lr must be a number, not fast"),
        (
            ["trainer.max_steps=ten"],
            "trainer.max_steps must be a whole number of at least -1 (-1 for no limit), not ten",
        ),
        (
            ["trainer.val_check_interval=0"],
            "trainer.val_check_interval must be a whole number of at least 1, a fraction",
        ),
        (["trainer.precision=bf16-true"], "trainer.precision must be auto, 32-true, bf16-mixed, 16-mixed, "),
        (
            ["trainer.devices=two"],
            "trainer.devices must be a whole number, a list of whole numbers such as [1,2] or auto",
        ),
        (["trainer.gradient_clip_val=-1"], "trainer.gradient_clip_val must be a number of at least 0 or null, not -1"),
        (["trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches must be a whole number of at least 1"),
        (["trainer.val_check_interval=0.5", "trainer.check_val_every_n_epoch=null"], "needs trainer.check_val_every_n"),
        (["trainer.max_steps=-1"], "training needs an end: set trainer.max_steps or trainer.max_epochs"),
        (["sampler.steps=1.5", "callbacks=minimal"], "sampler.steps must be a whole number, not 1.5"),
        (["model.channels=64"], "model.channels must be a list of whole numbers such as [1,2], not 64"),
        (["model.channels=[64,x]"], "model.channels must be a list of whole numbers such as [1,2], not [64, x]"),
        (["model.channels=[]"], "model.channels must be widths of at least 1, one for each level, not []"),
        (["dataset.flip=maybe"], "dataset.flip must be true or false, not maybe"),
        (["label_dropout=2"], "label_dropout must be a probability from 0 to 1, not 2"),
        (["ema.decay=1.5"], "ema.decay must lie in [0, 1), not 1.5"),
        (["optimizer.lr=nan"], "optimizer.lr must be a finite number of at least 0, not nan"),
        (["callbacks.sample_grid.num_samples=0"], "callbacks.sample_grid.num_samples must be at least 1, not 0"),
        (["callbacks.checkpointing.every_n_steps=0.5"], "callbacks.checkpointing.every_n_steps must be a whole number"),
        (["metrics.kid_subset_size=0", "callbacks=minimal"], "metrics.kid_subset_size must be at least 2, not 0"),
        (
            ["-m", "seed=[0,1]"],
            "seed must be a whole number, not [0, 1] (a sweep over several values is written -m seed=",
        ),
        (["-m", "seed=0,1", "optimizer.lr=1e-3,fast"], "optimizer.lr must be a number, not fast"),
        (["-m", "experiment=search", "sampler.steps=few"], "sampler.steps must be a whole number, not few"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_training_with_a_wrong_value_leaves_no_run(refused: Callable, overrides: list[str], message: str) -> None:
    assert message in refused("train.py", *overrides)


@pytest.mark.parametrize(
    ("verb", "override", "message"),
    [
        ("sample.py", "num=ten", "num must be a whole number, not ten"),
        ("sample.py", "seed=abc", "seed must be a whole number, not abc"),
        ("sample.py", "label=cat", "label must be a whole number or null, not cat"),
        ("sample.py", "sampler.steps=1.5", "sampler.steps must be a whole number, not 1.5"),
        ("evaluate.py", "sampler.eta=big", "sampler.eta must be a number, not big"),
        ("evaluate.py", "metrics.num_samples=1.5", "metrics.num_samples must be a whole number, not 1.5"),
        ("evaluate.py", "metrics.kid_subset_size=0", "metrics.kid_subset_size must be at least 2, not 0"),
        ("evaluate.py", "trainer.devices=two", "trainer.devices must be a whole number"),
    ],
)
def test_a_wrong_value_for_a_checkpoint_leaves_no_folder(
    refused: Callable, tiny_paths: list[str], verb: str, override: str, message: str
) -> None:
    assert message in refused(verb, *tiny_paths, f"checkpoint={VERSION_1_RUN}", override)


def test_samples_may_be_counted_in_any_spelling(shell_here: Callable, tmp_path: Path) -> None:
    words = [f"checkpoint={VERSION_1_RUN}", "num=4e0", "sampler.steps=2e0", "seed='3'", "name=2024_01_15"]
    result = shell_here("sample.py", *words, f"paths.output_dir={tmp_path}", f"hydra.run.dir={tmp_path}/images")
    assert result.returncode == 0, result.stderr
    config = OmegaConf.load(tmp_path / "images" / "config.yaml")
    assert [repr(config.sample[key]) for key in ("num", "seed")] == ["4", "3"] and repr(config.sampler.steps) == "2"
