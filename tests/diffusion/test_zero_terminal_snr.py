"""The option of Lin et al. 2023, and everything that has to handle an SNR of 0."""

import math

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from choices import choices, config_of, make
from ddpm_lightning.diffusion.forward_process import noise_batch, posterior
from ddpm_lightning.diffusion.loss import SquaredError
from ddpm_lightning.diffusion.objective import Objective
from ddpm_lightning.diffusion.schedules.discrete import DiscreteSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.weighting import Constant, MinSNR

WITH_THE_OPTION = [choice for choice in choices("schedule") if "zero_terminal_snr" in config_of("schedule", choice)]
every_kind = pytest.mark.parametrize("kind", WITH_THE_OPTION)
ONE = torch.ones(1)


def test_the_expected_schedules_have_the_option():
    assert {"linear", "cosine", "quadratic", "sigmoid"} <= {*WITH_THE_OPTION}


@every_kind
@pytest.mark.parametrize("num_steps", [50, 1000])
def test_rescaled_signal_rates_match_diffusers(kind, num_steps):
    nodes = make("schedule", kind, num_steps=num_steps).log_alpha_bar_nodes
    oracle = (1 - rescale_zero_terminal_snr(-nodes.diff().expm1())).cumprod(0)
    t = torch.arange(1, num_steps + 1, dtype=torch.float64) / num_steps
    alpha = make("schedule", kind, num_steps=num_steps, zero_terminal_snr=True).rates(t).alpha
    torch.testing.assert_close(alpha**2, oracle, rtol=1e-9, atol=1e-15)


@every_kind
def test_the_first_rate_stays_and_the_last_is_zero(kind):
    plain, rescaled = make("schedule", kind), make("schedule", kind, zero_terminal_snr=True)
    first = torch.full((1,), 0.001, dtype=torch.float64)
    torch.testing.assert_close(rescaled.rates(first).alpha, plain.rates(first).alpha, rtol=1e-12, atol=0)
    assert rescaled.rates(ONE) == (torch.zeros(1), ONE)
    assert rescaled.log_snr(ONE).item() == -math.inf
    assert plain.rates(ONE).alpha.item() > 0


def test_alpha_falls_to_zero_on_a_straight_line():
    schedule = LinearSchedule(50, zero_terminal_snr=True)
    along = torch.linspace(0, 1, 11, dtype=torch.float64)
    alpha = schedule.rates((49 + along) / 50).alpha
    expected = schedule.rates(ONE.double() * 0.98).alpha * (1 - along)
    torch.testing.assert_close(alpha, expected, rtol=1e-9, atol=1e-12)


def test_a_schedule_with_one_level_of_noise_is_refused():
    for refused in (
        lambda: LinearSchedule(1, scale_betas=False, zero_terminal_snr=True),
        lambda: DiscreteSchedule(torch.tensor([0.1, 0.0, 0.0]), zero_terminal_snr=True),
    ):
        with pytest.raises(ValueError, match=r"zero_terminal_snr=true needs an alpha that falls after the first step"):
            refused()


@every_kind
@pytest.mark.parametrize("s", [0.0, 0.001, 0.5, 0.999, 0.9999])
def test_the_posterior_given_pure_noise_is_the_forward_process(kind, s):
    """Where x_t says nothing about x_0, q(x_s | x_t, x_0) is q(x_s | x_0)."""
    schedule = make("schedule", kind, zero_terminal_snr=True)
    s = torch.full((1,), s, dtype=torch.float64)
    q, rates = posterior(schedule, ONE.double(), s), schedule.rates(s)
    torch.testing.assert_close(q.x_0_weight, rates.alpha)
    assert q.x_t_weight.item() == 0
    torch.testing.assert_close(q.variance, rates.sigma**2)


@pytest.mark.parametrize("weighting", [Constant(), MinSNR(5.0)], ids=["constant", "min_snr"])
@pytest.mark.parametrize("schedule", [LinearSchedule(zero_terminal_snr=True), make("schedule", "flow")])
def test_the_loss_is_finite_on_pure_noise(target, loss_on, schedule, weighting, generator):
    """Between all spaces, except from predicted noise, which determines no image, to another one."""
    t = torch.tensor([1.0, 1.0 - 1e-6, 0.9995, 0.999])
    if target.name == "noise" and loss_on != target:
        t = t[2:]
    x_0, eps = torch.randn(2, len(t), 1, 2, 2, generator=generator)
    output = torch.zeros_like(x_0).requires_grad_()
    batch = noise_batch(schedule, x_0, eps, t)
    loss = Objective(loss_on, SquaredError(), weighting)(target.invert(output, batch.x_t, batch.rates), batch)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert output.grad.isfinite().all()
    assert t[0] < 1 or torch.equal(batch.x_t[0], eps[0])


@pytest.mark.parametrize("choice", [choice for choice in choices("predict") if choice != "noise"])
def test_all_but_noise_invert_on_pure_noise(choice, generator):
    target, rates = make("predict", choice), LinearSchedule(zero_terminal_snr=True).rates(ONE)
    x_0, eps = torch.randn(2, 1, 1, 2, 2, generator=generator)
    prediction = target.invert(target(x_0, eps, rates), eps, rates)
    torch.testing.assert_close(prediction.x_0, x_0)
    torch.testing.assert_close(prediction.eps, eps)
