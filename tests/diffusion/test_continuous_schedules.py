"""The straight path and EDM's, against their formulas."""

import math

import pytest
import torch

from ddpm_lightning.diffusion.schedules.edm import EDMSchedule
from ddpm_lightning.diffusion.schedules.flow import FlowSchedule

GRID = torch.linspace(0, 1, 2001, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flow_is_the_straight_line(dtype):
    t = GRID.to(dtype)
    alpha, sigma = FlowSchedule().rates(t)
    assert torch.equal(alpha, 1 - t)
    assert torch.equal(sigma, t)


def test_flows_log_snr_is_minus_twice_the_logit():
    t = GRID[1:-1]
    torch.testing.assert_close(FlowSchedule().log_snr(t), -2 * torch.logit(t), rtol=1e-12, atol=1e-12)
    assert FlowSchedule().log_snr(GRID[[0, -1]]).tolist() == [math.inf, -math.inf]
    assert FlowSchedule().time_of_log_snr(torch.zeros(1)).item() == 0.5


def test_float32_log_snr_of_flow_is_exact_to_the_end():
    t = torch.tensor([1e-3, 0.5, 0.999, 1 - 2.0**-24])
    torch.testing.assert_close(FlowSchedule().log_snr(t), FlowSchedule().log_snr(t.double()).float(), rtol=1e-7, atol=0)


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0, 20.0])
@pytest.mark.parametrize(("sigma_min", "sigma_max"), [(0.002, 80.0), (0.01, 50.0)])
def test_edm_has_the_published_noise_levels(rho, sigma_min, sigma_max):
    """Karras et al. 2022, eq. 5: sigma_i for i = 0..N-1, from sigma_max down, at evenly spaced t from 1 to t_min."""
    schedule, count = EDMSchedule(sigma_min, sigma_max, rho), 18
    t = torch.linspace(1, schedule.t_min, count, dtype=torch.float64)
    alpha, sigma = schedule.rates(t)
    assert (alpha == 1).all()
    for i in range(count):
        ends = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
        expected = (ends[0] + i / (count - 1) * (ends[1] - ends[0])) ** rho
        assert sigma[i].item() == pytest.approx(expected, rel=1e-11)
    torch.testing.assert_close(schedule.log_snr(t), -2 * sigma.log(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rho", [None, 1.0, 7.0])
@pytest.mark.parametrize("t_min", [1e-3, 0.05, 0.5])
def test_edm_reaches_its_limits(rho, t_min):
    t = torch.tensor([t_min, 1.0], dtype=torch.float64)
    schedule = EDMSchedule(rho=rho, t_min=t_min)
    assert schedule.rates(t).sigma.tolist() == pytest.approx([0.002, 80.0], rel=1e-12)
    found = schedule.time_of_log_snr(-2 * torch.tensor([0.002, 80.0], dtype=torch.float64).log())
    assert found.tolist() == pytest.approx([t_min, 1.0], rel=1e-12)


def test_without_rho_log_sigma_is_linear():
    schedule = EDMSchedule(rho=None, t_min=0.1)
    t = torch.linspace(0.1, 1, 10, dtype=torch.float64)
    ratio = (80 / 0.002) ** (1 / 9)
    expected = [0.002 * ratio**i for i in range(10)]
    assert schedule.rates(t).sigma.tolist() == pytest.approx(expected, rel=1e-11)


def test_a_large_rho_approaches_a_linear_log_sigma():
    t = torch.linspace(1e-3, 1, 50, dtype=torch.float64)
    expected = EDMSchedule(rho=None).rates(t).sigma
    torch.testing.assert_close(EDMSchedule(rho=1e6).rates(t).sigma, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("rho", [None, 7.0])
def test_edm_is_continuous_where_training_starts(rho):
    """Below that, sigma falls on a straight line to 0."""
    schedule = EDMSchedule(rho=rho, t_min=0.1)
    around = torch.tensor([0.1 - 1e-9, 0.1, 0.1 + 1e-9], dtype=torch.float64)
    assert schedule.rates(around).sigma.tolist() == pytest.approx([0.002] * 3, rel=1e-6)
    below = torch.tensor([0.0, 0.025, 0.05, 0.075], dtype=torch.float64)
    assert schedule.rates(below).sigma.tolist() == pytest.approx([0.0, 0.0005, 0.001, 0.0015])


@pytest.mark.parametrize(("sigma_min", "sigma_max"), [(0.0, 80.0), (-1.0, 80.0), (80.0, 0.002), (1.0, 1.0)])
def test_edm_refuses_noise_that_does_not_rise(sigma_min, sigma_max):
    message = f"schedule.sigma_min must be above 0 and below schedule.sigma_max, not {sigma_min} and {sigma_max}"
    with pytest.raises(ValueError, match=message):
        EDMSchedule(sigma_min, sigma_max)


@pytest.mark.parametrize("rho", [0.0, -7.0, math.nan])
def test_edm_refuses_a_rho_that_is_not_positive(rho):
    with pytest.raises(ValueError, match=f"schedule.rho must be above 0, or null for a linear log sigma, not {rho}"):
        EDMSchedule(rho=rho)
