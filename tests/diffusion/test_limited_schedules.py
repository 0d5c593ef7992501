import math

import pytest
import torch

from ddpm_lightning.diffusion.schedules.limited import LimitedCosineSchedule, LimitedLinearSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule

BOTH = pytest.mark.parametrize("make", [LimitedCosineSchedule, LimitedLinearSchedule])


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 50, 1000])
@pytest.mark.parametrize("limits", [(0.02, 0.95), (0.1, 0.9)])
def test_the_angle_rises_linearly_between_those_of_the_limits(num_steps, limits):
    schedule = LimitedCosineSchedule(num_steps, *limits)
    start, end = math.acos(limits[1]), math.acos(limits[0])
    for i in range(1, num_steps + 1):
        angle = start + i / num_steps * (end - start)
        rates = schedule.rates(torch.tensor([i / num_steps], dtype=torch.float64))
        assert rates.alpha.item() == pytest.approx(math.cos(angle), rel=1e-11)
        assert rates.sigma.item() == pytest.approx(math.sin(angle), rel=1e-11)


@pytest.mark.parametrize("limits", [(0.02, 0.95), (0.1414, 0.9747)])
def test_limited_linear_is_the_linear_schedule_clipped(limits):
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    ours = LimitedLinearSchedule(min_signal_rate=limits[0], max_signal_rate=limits[1]).rates(t).alpha
    linear = LinearSchedule().rates(t).alpha
    torch.testing.assert_close(ours, linear.clamp(*limits), rtol=1e-11, atol=0)
    assert ((linear > limits[1]).any(), (linear < limits[0]).any()) == (True, True)


def test_limited_linear_has_exact_plateaus_at_both_ends():
    betas = -torch.expm1(LimitedLinearSchedule().log_alpha_bar_nodes.diff())
    assert (betas[1:90] == 0).all()
    assert (betas[100:870] > 0).all()
    assert (betas[-110:] == 0).all()


def test_limited_linear_scales_betas_for_other_step_counts():
    t = torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64)
    torch.testing.assert_close(LimitedLinearSchedule(200).rates(t).alpha, LinearSchedule(200).rates(t).alpha)
    assert LimitedLinearSchedule(200, scale_betas=False).rates(torch.ones(1)).alpha.item() == pytest.approx(
        0.36, abs=0.005
    )
    with pytest.raises(ValueError, match=r"num_steps=20 scales the largest beta .* use more than 20 steps"):
        LimitedLinearSchedule(20)


@BOTH
def test_the_limits_hold_from_the_first_step_but_not_at_zero(make):
    schedule = make()
    t = torch.linspace(1 / 1000, 1, 999)
    alpha = schedule.rates(t).alpha
    assert schedule.rates(torch.zeros(1)).alpha.item() == 1
    assert alpha.max().item() == pytest.approx(0.95, abs=4e-4)
    assert alpha.min().item() == pytest.approx(0.02, rel=1e-6)


@BOTH
@pytest.mark.parametrize(
    "limits", [(0.0, 0.95), (-0.1, 0.95), (0.02, 1.0), (0.02, 1.1), (0.5, 0.5), (0.9, 0.1)], ids=str
)
def test_invalid_limits_are_refused(make, limits):
    with pytest.raises(ValueError, match=r"min_signal_rate must be above 0 and below schedule.max_signal_rate"):
        make(min_signal_rate=limits[0], max_signal_rate=limits[1])


@BOTH
def test_zero_steps_are_refused(make):
    with pytest.raises(ValueError, match=r"num_steps must be at least 1, not 0"):
        make(0)
