"""Curves of the loss and the errors against the log SNR."""

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ddpm_lightning.callbacks.noise_level_curves import NoiseLevelCurves
from ddpm_lightning.diffusion.randomness import Purpose, keyed_normal

OPTIONS = ("callbacks=minimal", "trainer.max_steps=1", "optimizer.lr=0", "ema=none")


@pytest.fixture
def untrained(tiny_run):
    """A run whose network predicts zeros, and has not learnt anything."""
    run = tiny_run(*OPTIONS)
    run.fit()
    return run


def test_a_network_of_zeros_errs_by_the_noise_itself(untrained):
    log_snr, means = NoiseLevelCurves(num_images=8, num_times=6).curves(untrained.trainer, untrained.module)
    assert bool((log_snr.diff() < 0).all())
    eps = keyed_normal(0, Purpose.VALIDATION_NOISE, torch.arange(8), (1, 28, 28))
    torch.testing.assert_close(means[0], eps.square().mean().expand(6))
    torch.testing.assert_close(means[1], eps.abs().mean().expand(6))
    assert bool((means[2].diff() > 0).all())  # the more noise, the less is seen of the image


def test_it_is_drawn_after_validations(run_with, tmp_path):
    run_with("callbacks=pictures", "logger=tensorboard", "trainer.max_steps=1", "trainer.limit_train_batches=1").fit()
    files = (tmp_path / "run" / "pictures" / "noise_levels").iterdir()
    assert [file.name for file in files] == ["step-0000001.png"]
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [image.step for image in events.Images("noise_levels")] == [1]


@pytest.mark.parametrize("option", ["num_images", "num_times"])
def test_an_option_below_one_is_refused(option):
    with pytest.raises(ValueError, match=f"callbacks.noise_level_curves.{option} must be at least 1, not 0"):
        NoiseLevelCurves(**{option: 0})
