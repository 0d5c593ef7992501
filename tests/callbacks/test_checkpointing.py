"""Checkpoints of a real training: when they are written, and which is the best."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from lightning.pytorch import Callback

from ddpm_lightning.callbacks.checkpointing import Checkpointing
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.checkpoint import CONFIG_KEY, read_checkpoint
from ddpm_lightning.training.csv_log import CSVLogger
from ddpm_lightning.training.event_log import TensorBoardLogger

EPOCH = 10  # batches, of the tiny data


class Scores(Callback):
    """Logs a value at each validation, taken from a list."""

    def __init__(self, name: str, values: list[float]) -> None:
        self.name, self.values = name, values

    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log(self.name, self.values.pop(0))


@pytest.fixture
def saved(tiny_run: Callable) -> Callable[..., list[tuple[str, int]]]:
    """`saved(checkpointing, *overrides)`: (file, step) of every checkpoint in the order of writing."""

    def fit(checkpointing: Checkpointing, *overrides: str, scores: Scores | None = None) -> list[tuple[str, int]]:
        written = []
        run = tiny_run(*overrides, callbacks=[*([scores] if scores else []), checkpointing])
        save = run.trainer.save_checkpoint

        def recorded(path: Path) -> None:
            save(path)
            assert read_checkpoint(path)["global_step"] == run.trainer.global_step
            written.append((path.stem, run.trainer.global_step))

        run.trainer.save_checkpoint = recorded
        run.fit()
        return written

    return fit


def steps(written: list[tuple[str, int]], name: str) -> list[int]:
    return [step for file, step in written if file == name]


def test_last_is_written_every_n_steps_and_at_the_end(saved):
    written = saved(Checkpointing(3), "trainer.max_steps=8", "trainer.limit_val_batches=0")
    assert written == [("last", 3), ("last", 6), ("last", 8)]


def test_a_save_at_an_epochs_end_waits_for_its_validation(saved):
    """Lightning, resumed from a checkpoint before that validation, would skip it."""
    written = saved(Checkpointing(5), "trainer.max_steps=15")
    assert written == [("last", 5), ("best", 10), ("last", 10), ("last", 15)]


def test_a_save_right_before_a_validation_waits_for_it(saved):
    written = saved(Checkpointing(4), "trainer.max_steps=9", "trainer.val_check_interval=4")
    assert [name for name, step in written if step == 4] == ["best", "last"]
    assert [name for name, step in written if step == 8][-1] == "last"


def test_a_save_while_accumulating_waits_for_the_step(saved):
    """Due at the epoch's end (5 steps), written in the next epoch, whose first batch only begins a window."""
    written = saved(
        Checkpointing(5), "trainer.max_steps=8", "trainer.accumulate_grad_batches=2", "trainer.limit_val_batches=0"
    )
    assert steps(written, "last") == [6, 8]


@pytest.mark.parametrize(
    ("values", "best"), [([3.0, 1.0, 2.0], [10, 20]), ([1.0, 3.0, 2.0], [10]), ([float("nan"), 2.0, 3.0], [20])]
)
def test_the_best_has_the_lowest_monitored_value(saved, values, best):
    checkpointing = Checkpointing(1000, monitor="val/score")
    written = saved(checkpointing, f"trainer.max_steps={3 * EPOCH}", scores=Scores("val/score", values))
    assert steps(written, "best") == best


def test_the_best_has_the_highest_accuracy(saved):
    checkpointing = Checkpointing(1000, monitor="val/accuracy")
    scores = Scores("val/accuracy", [0.1, 0.3, 0.2])
    assert steps(saved(checkpointing, f"trainer.max_steps={3 * EPOCH}", scores=scores), "best") == [10, 20]


def test_a_checkpoint_holds_what_exact_resumption_needs(tiny_run, tmp_path):
    run = tiny_run(callbacks=[Checkpointing(1)])
    run.fit()
    checkpoint = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert checkpoint[CONFIG_KEY]["sampler"]["steps"] == 2
    assert checkpoint["world_size"] == 1
    assert checkpoint["ema"]["num_updates"] == 3
    assert not [key for key in checkpoint["state_dict"] if "ema" in key or "extractor" in key]


def test_the_state_before_the_last_is_kept(saved, tmp_path):
    saved(Checkpointing(3), "trainer.max_steps=8", "trainer.limit_val_batches=0")
    folder = RunFolder(tmp_path / "run")
    kept = {path.name: read_checkpoint(path)["global_step"] for path in folder.last_checkpoint.parent.iterdir()}
    assert kept == {"last.ckpt": 8, "previous.ckpt": 6}


@pytest.mark.parametrize("loggers", ["none", "csv", "tensorboard"])
def test_a_folder_that_vanishes_gets_the_state_again(tiny_run, tmp_path, loggers):
    class Vanish(Callback):
        def on_train_batch_end(self, trainer, *arguments):
            if trainer.global_step == 5:
                shutil.rmtree(trainer.default_root_dir)

    own = {"none": [], "csv": [CSVLogger(tmp_path / "run")], "tensorboard": [TensorBoardLogger(tmp_path / "run")]}
    words = ["trainer.max_steps=8", "trainer.log_every_n_steps=1"]
    run = tiny_run(*words, callbacks=[Vanish(), Checkpointing(3)], loggers=own[loggers])
    folder = RunFolder(tmp_path / "run")
    run.module.run_config = {"seed": 0}
    folder.write_config(run.module.run_config)
    with pytest.raises(FileNotFoundError, match=r"run was moved or deleted .* state at step 6 is saved there again"):
        run.fit()
    assert read_checkpoint(folder.last_checkpoint)["global_step"] == 6
    assert yaml.safe_load(folder.config_file.read_text()) == {"seed": 0}


def test_a_period_below_one_is_refused():
    with pytest.raises(ValueError, match=r"every_n_steps must be at least 1, not 0"):
        Checkpointing(0)
