"""A training that becomes NaN stops, reports the step, and overwrites no checkpoint."""

from pathlib import Path

import pytest
import torch

from ddpm_lightning.callbacks.nan_guard import CHECK_EVERY_N_STEPS
from ddpm_lightning.training.checkpoint import read_checkpoint

MINIMAL = ("callbacks=minimal", "trainer.max_steps=20", "trainer.limit_val_batches=0")


def finite(path: Path) -> bool:
    checkpoint = read_checkpoint(path)
    tensors = [*checkpoint["state_dict"].values(), *checkpoint["ema"]["network"].values()]
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def test_a_run_with_an_absurd_learning_rate_stops(run_with, tmp_path):
    run = run_with(*MINIMAL, "optimizer.lr=1e30", "optimizer.warmup_steps=0", "trainer.gradient_clip_val=null",
                   "callbacks.checkpointing.every_n_steps=1")  # fmt: skip
    with pytest.raises(FloatingPointError, match=r"NaN or infinite at optimizer step \d+ \(learning rate now .*e\+"):
        run.fit()
    assert run.trainer.global_step < 5
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert not last.is_file() or finite(last)


def test_the_last_good_checkpoint_is_named_and_stays_good(run_with, poison, tmp_path):
    run = run_with(*MINIMAL, "callbacks.checkpointing.every_n_steps=3", extra=[poison(step=4)])
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    with pytest.raises(FloatingPointError, match=rf"optimizer step .*the last good checkpoint is {last}"):
        run.fit()
    assert run.trainer.global_step == 6  # checked before the save that was due
    assert finite(last)
    assert read_checkpoint(last)["global_step"] == 3


def test_weights_that_became_nan_in_the_last_step_are_not_saved(run_with, poison, tmp_path):
    """The loss of that step is still finite."""
    run = run_with(*MINIMAL, "callbacks.checkpointing.every_n_steps=3", extra=[poison(step=5)])
    with pytest.raises(FloatingPointError, match="the weights became NaN or infinite at optimizer step 6"):
        run.fit()
    assert finite(tmp_path / "run" / "checkpoints" / "last.ckpt")


def test_without_a_checkpoint_the_loss_is_checked_regularly(run_with, poison):
    run = run_with(*MINIMAL, f"trainer.max_steps={CHECK_EVERY_N_STEPS + 5}", extra=[poison(step=2)])
    with pytest.raises(FloatingPointError, match="at optimizer step 4 .*no checkpoint was written before"):
        run.fit()
    assert run.trainer.global_step == CHECK_EVERY_N_STEPS


def test_a_healthy_run_is_left_alone(run_with):
    run = run_with(*MINIMAL, f"trainer.max_steps={CHECK_EVERY_N_STEPS + 5}")
    run.fit()
    assert run.trainer.global_step == CHECK_EVERY_N_STEPS + 5
