"""Every schedule, with any valid options: monotone, invertible, and finite at its ends."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from properties.strategies import schedules, times

DTYPES = st.sampled_from([torch.float32, torch.float64])
ROUNDING_OF_T = 4e-7  # float32 times are snapped to the nodes of a table


@given(schedules(), st.data(), DTYPES)
def test_log_snr_never_rises(schedule: Schedule, data: st.DataObject, dtype: torch.dtype):
    t = torch.tensor(data.draw(times(0.0)), dtype=dtype)
    log_snr = schedule.log_snr(t)
    later, earlier = log_snr[1:], log_snr[:-1]
    assert (later <= earlier + 1e-12 * earlier.abs().clamp(min=1)).all()


@given(schedules(), st.data(), DTYPES)
def test_log_snr_is_the_ratio_of_the_rates(schedule: Schedule, data: st.DataObject, dtype: torch.dtype):
    t = torch.tensor(data.draw(times(schedule.t_min)), dtype=dtype)
    alpha, sigma = schedule.rates(t.double())
    torch.testing.assert_close(schedule.log_snr(t), (2 * (alpha / sigma).log()).to(dtype), rtol=1e-5, atol=1e-5)


@given(schedules(), st.data())
def test_the_time_of_a_log_snr_is_the_time_it_is_of(schedule: Schedule, data: st.DataObject):
    """Or another time at which the log SNR is the same, on a plateau."""
    t = torch.tensor(data.draw(times(schedule.t_min)), dtype=torch.float64)
    log_snr = schedule.log_snr(t)
    found = schedule.time_of_log_snr(log_snr)
    assert found.min() >= schedule.t_min and found.max() <= 1
    slack = 1e-9 * log_snr.abs().clamp(min=1, max=1e9)
    assert (schedule.log_snr((found - ROUNDING_OF_T).clamp(min=0)) >= log_snr - slack).all()
    assert (schedule.log_snr((found + ROUNDING_OF_T).clamp(max=1)) <= log_snr + slack).all()


@given(schedules(), DTYPES)
def test_the_ends_are_finite_numbers(schedule: Schedule, dtype: torch.dtype):
    t = torch.tensor([0.0, schedule.t_min, 1.0], dtype=dtype)
    (alpha, sigma), log_snr = schedule.rates(t), schedule.log_snr(t)
    assert alpha.isfinite().all() and sigma.isfinite().all()
    assert (alpha[0], sigma[0], log_snr[0]) == (1, 0, math.inf)
    assert alpha[1] > 0 or schedule.t_min == 1
    assert (sigma[1:] > 0).all()
    assert (log_snr[2] == -math.inf) == (alpha[2] == 0)


@given(schedules(), st.data())
def test_signal_is_left_until_the_end(schedule: Schedule, data: st.DataObject):
    t = torch.tensor([*data.draw(times(schedule.t_min)), 1.0], dtype=torch.float64)
    assert schedule.log_snr(t[t < 1]).isfinite().all()


def test_zero_terminal_snr_is_reached_only_at_the_end():
    with pytest.raises(ValueError, match=r"the signal vanishes before t = 1: use a larger last beta"):
        LinearSchedule(num_steps=3, beta_end=0.0, scale_betas=False, zero_terminal_snr=True)


@given(schedules(), DTYPES, st.sampled_from(Conditioning))
def test_a_network_gets_finite_noise_levels(schedule: Schedule, dtype: torch.dtype, conditioning: Conditioning):
    t = torch.tensor([schedule.t_min, 1.0], dtype=dtype)
    assert conditioning.noise_level(schedule, t).isfinite().all()
