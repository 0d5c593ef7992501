"""A run that continues from any of its checkpoints ends as if it had never stopped."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from ddpm_lightning.runs.build import build_callbacks, build_data, build_loggers, build_module, build_trainer
from ddpm_lightning.runs.plain_config import plain
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.checkpoint import read_checkpoint
from ddpm_lightning.training.checkpoint_io import AtomicCheckpointIO

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

STEPS = ["trainer.max_steps=11"]
EPOCHS = ["trainer.max_steps=-1", "trainer.max_epochs=2"]
SAVED_STEPS = {
    "steps": (STEPS, [*range(1, 12)]),
    "epochs": (EPOCHS, [*range(1, 11)]),
    "steps, accumulating": ([*STEPS, "trainer.accumulate_grad_batches=2"], [*range(1, 12)]),
    "epochs, accumulating, workers": (
        [*EPOCHS, "trainer.accumulate_grad_batches=2", "dataset.num_workers=2"],
        [*range(1, 7)],
    ),
    "times that depend on earlier losses": (
        [*STEPS, "timesteps=importance", "timesteps.num_steps=4", "timesteps.history=2"],
        [*range(1, 12)],
    ),
    "epochs of one batch": ([*STEPS, "trainer.limit_train_batches=1"], [*range(1, 12)]),
    # Where an epoch ends without a validation, its last step is not saved.
    "a validation every other epoch": ([*STEPS, "trainer.check_val_every_n_epoch=2"], [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]),
    "steps, accumulating, no validation": (
        [*STEPS, "trainer.accumulate_grad_batches=2", "trainer.limit_val_batches=0"],
        [1, 2, 4, 5, 7, 8, 10, 11],
    ),
    "epochs, no validation": ([*EPOCHS, "trainer.limit_val_batches=0"], [1, 2, 3, 4, 6, 7, 8, 9, 10]),
    "two validations in an epoch": ([*EPOCHS, "trainer.val_check_interval=0.4"], [1, 2, 3, 4, 6, 7, 8, 9, 10]),
    "validations counted across epochs, at their ends": (
        [*STEPS, "trainer.val_check_interval=5", "trainer.check_val_every_n_epoch=null"],
        [*range(1, 12)],
    ),
    "validations counted across epochs, within them": (
        [*STEPS, "trainer.val_check_interval=3", "trainer.check_val_every_n_epoch=null"],
        [1, 2, 3, 4, 6, 7, 8, 9, 11],
    ),
}


@pytest.fixture
def fit(resumable: list[str], compose_verb: Callable[..., DictConfig]) -> Callable[..., dict[str, Any]]:
    """Trains in a folder, from the checkpoint that is there if there is one; returns the last checkpoint."""

    def run(folder: Path, *overrides: str) -> dict[str, Any]:
        config = compose_verb("train", *resumable, "callbacks=minimal", *overrides)
        data = build_data(config)
        module = build_module(config, data.image_shape, data.num_classes)
        module.run_config = plain(config)
        trainer = build_trainer(config, folder, build_callbacks(config), build_loggers(config, folder))
        last = RunFolder(folder).last_checkpoint
        trainer.fit(module, data, ckpt_path=last if last.is_file() else None)
        return read_checkpoint(last)

    return run


@pytest.mark.parametrize("case", SAVED_STEPS)
def test_resumes_exactly(
    fit: Callable[..., dict[str, Any]],
    differences: Callable[[Any, Any], list[str]],
    logged: Callable[[Path], dict[tuple[int, str], str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    case: str,
) -> None:
    overrides, saved_steps = SAVED_STEPS[case]
    overrides = [*overrides, "callbacks.checkpointing.every_n_steps=1"]
    save = AtomicCheckpointIO.save_checkpoint

    def save_and_keep(self: AtomicCheckpointIO, checkpoint: dict[str, Any], path: Path, **options: Any) -> None:
        save(self, checkpoint, path, **options)
        if path.name == "last.ckpt":
            kept = RunFolder(tmp_path / f"from-{checkpoint['global_step']}").last_checkpoint
            kept.parent.mkdir(parents=True)
            shutil.copy(path, kept)

    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", save_and_keep)
        whole = fit(tmp_path / "whole", *overrides)
    values = logged(tmp_path / "whole")
    assert len(list(tmp_path.glob("from-*"))) == len(saved_steps)
    for step in saved_steps:
        resumed = tmp_path / f"from-{step}"
        assert differences(fit(resumed, *overrides), whole) == [], f"resumed at step {step}"
        ours = logged(resumed)  # with what the checkpoint's own step had still to log
        assert ours == {key: values[key] for key in ours}
        assert {key for key in values if key[0] >= step} <= ours.keys() <= {key for key in values if key[0] >= step - 1}


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [
        (["trainer.max_steps=7"], ["trainer.max_steps=11"]),
        (["trainer.max_steps=10"], ["trainer.max_steps=11"]),
        (["trainer.max_steps=-1", "trainer.max_epochs=1"], ["trainer.max_steps=-1", "trainer.max_epochs=2"]),
    ],
    ids=["within an epoch", "at its end", "epochs"],
)
def test_a_finished_run_goes_on_exactly(
    fit: Callable[..., dict[str, Any]],
    differences: Callable[[Any, Any], list[str]],
    tmp_path: Path,
    shorter: list[str],
    longer: list[str],
) -> None:
    # The learning rate may not depend on the length, and only the end is a time to save.
    common = ["optimizer.final_fraction=1", "callbacks.checkpointing.every_n_steps=1000"]
    whole = fit(tmp_path / "whole", *longer, *common)
    fit(tmp_path / "run", *shorter, *common)
    assert differences(fit(tmp_path / "run", *longer, *common), whole) == []
