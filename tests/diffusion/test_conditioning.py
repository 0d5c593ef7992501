import math

import pytest
import torch

from ddpm_lightning.diffusion.conditioning import CONDITIONING_FLOOR, Conditioning

every_measure = pytest.mark.parametrize("measure", list(Conditioning))


def test_time_is_time(path):
    t = torch.tensor([0.1, 0.7, 1.0])
    assert torch.equal(Conditioning.TIME.noise_level(path, t), t)


def test_the_noise_variance_is_the_noises_share(path):
    t = torch.linspace(path.t_min, 1, 21, dtype=torch.float64)
    alpha, sigma = path.rates(t)
    ours = Conditioning.NOISE_VARIANCE.noise_level(path, t)
    torch.testing.assert_close(ours, sigma**2 / (alpha**2 + sigma**2), rtol=1e-9, atol=0)


def test_the_log_snr_has_a_floor(path):
    t = torch.linspace(path.t_min, 1, 21, dtype=torch.float64)
    alpha, sigma = path.rates(t)
    expected = (2 * (alpha / sigma).log()).clamp(min=CONDITIONING_FLOOR)
    torch.testing.assert_close(Conditioning.LOG_SNR.noise_level(path, t), expected, rtol=1e-9, atol=1e-9)
    assert CONDITIONING_FLOOR == -20


def test_c_noise_is_a_quarter_of_log_sigma_over_alpha(path):
    """Karras et al. 2022, table 1, with sigma / alpha for sigma; 20/8 where no signal is left."""
    t = torch.linspace(path.t_min, 1, 21, dtype=torch.float64)
    alpha, sigma = path.rates(t)
    expected = ((sigma / alpha).log() / 4).clamp(max=2.5)
    torch.testing.assert_close(Conditioning.C_NOISE.noise_level(path, t), expected, rtol=1e-9, atol=1e-9)


@every_measure
def test_levels_are_monotone_and_finite(path, measure):
    t = torch.linspace(path.t_min, 1, 101, dtype=torch.float64)
    levels = measure.noise_level(path, t)
    assert levels.isfinite().all()
    assert (levels.diff() * (-1 if measure is Conditioning.LOG_SNR else 1) >= 0).all()


@every_measure
def test_levels_are_about_as_far_apart_as_the_span(path, measure):
    first, last = measure.noise_level(path, torch.tensor([path.t_min, 1.0]))
    assert 0.3 * measure.span < (last - first).abs() < 1.2 * measure.span


@every_measure
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float32_levels_have_float64_accuracy(path, measure, dtype):
    t = torch.linspace(path.t_min, 1, 21, dtype=torch.float32)
    levels = measure.noise_level(path, t.to(dtype))
    assert levels.dtype == dtype
    assert levels.shape == t.shape
    torch.testing.assert_close(levels, measure.noise_level(path, t.double()).to(dtype), rtol=1e-6, atol=1e-6)


@every_measure
def test_a_measure_is_found_by_its_name(measure):
    assert Conditioning(measure.value) is measure
    assert str(measure) == measure.value


@pytest.mark.parametrize("name", ["sigma", "", math.pi])
def test_an_unknown_measure_is_refused_with_the_choices(name):
    with pytest.raises(ValueError, match=f"unknown conditioning {name!r}: choose from time, noise_variance, log_snr"):
        Conditioning(name)
