"""The option of Lin et al. 2023, and all that meets an SNR of 0."""

import math

import pytest
import torch
from ddpm_lightning.diffusion.parameterization import Image, Noise, Velocity
from ddpm_lightning.diffusion.quadratic_schedule import QuadraticSchedule
from ddpm_lightning.diffusion.sigmoid_schedule import SigmoidSchedule
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from ddpm_lightning.diffusion.forward_process import posterior, q_sample
from ddpm_lightning.diffusion.loss import SquaredError
from ddpm_lightning.diffusion.objective import Objective
from ddpm_lightning.diffusion.schedule import CosineSchedule, LinearSchedule, Schedule
from ddpm_lightning.diffusion.weighting import Constant, MinSNR

every_kind = pytest.mark.parametrize("make", [LinearSchedule, CosineSchedule, QuadraticSchedule, SigmoidSchedule])
every_parameterization = pytest.mark.parametrize(
    "parameterization", [Noise(), Image(), Velocity()], ids=lambda p: p.name
)
ONE = torch.ones(1)


@every_kind
@pytest.mark.parametrize("num_steps", [50, 1000])
def test_rescaled_signal_rates_are_diffusers(make, num_steps):
    nodes = make(num_steps).log_alpha_bar_nodes
    oracle = (1 - rescale_zero_terminal_snr(-nodes.diff().expm1())).cumprod(0)
    t = torch.arange(1, num_steps + 1, dtype=torch.float64) / num_steps
    torch.testing.assert_close(make(num_steps, zero_terminal_snr=True).alpha_bar(t), oracle, rtol=1e-9, atol=1e-15)


@every_kind
def test_the_first_rate_stays_and_the_last_is_zero(make):
    plain, rescaled = make(), make(zero_terminal_snr=True)
    first = torch.full((1,), 0.001, dtype=torch.float64)
    torch.testing.assert_close(rescaled.signal_rate(first), plain.signal_rate(first), rtol=1e-12, atol=0)
    assert rescaled.rates(ONE) == (torch.zeros(1), ONE)
    assert rescaled.log_snr(ONE).item() == -math.inf
    assert rescaled.noise_variance(ONE).item() == 1
    assert plain.signal_rate(ONE).item() > 0


def test_the_signal_rate_falls_to_zero_on_a_straight_line():
    schedule = LinearSchedule(50, zero_terminal_snr=True)
    along = torch.linspace(0, 1, 11, dtype=torch.float64)
    signal = schedule.signal_rate((49 + along) / 50)
    torch.testing.assert_close(signal, schedule.signal_rate(ONE.double() * 0.98) * (1 - along), rtol=1e-9, atol=1e-12)


def test_a_schedule_with_one_level_of_noise_is_refused():
    for make in (
        lambda: LinearSchedule(1, scale_betas=False, zero_terminal_snr=True),
        lambda: Schedule(torch.tensor([0.1, 0.0, 0.0]), zero_terminal_snr=True),
    ):
        with pytest.raises(ValueError, match=r"schedule.zero_terminal_snr=true .* not schedule.num_steps="):
            make()


@every_kind
@pytest.mark.parametrize("s", [0.0, 0.001, 0.5, 0.999, 0.9999])
def test_the_posterior_given_pure_noise_is_the_forward_process(make, s):
    """Where x_t says nothing about x_0, q(x_s | x_t, x_0) is q(x_s | x_0)."""
    schedule = make(zero_terminal_snr=True)
    s = torch.full((1,), s, dtype=torch.float64)
    q, rates = posterior(schedule, ONE.double(), s), schedule.rates(s)
    torch.testing.assert_close(q.image_weight, rates.signal)
    assert q.noisy_weight.item() == 0
    torch.testing.assert_close(q.variance, rates.noise**2)


@every_parameterization
@pytest.mark.parametrize("weighting", [Constant(), MinSNR(5.0)], ids=["constant", "min_snr"])
def test_the_loss_is_finite_on_pure_noise(parameterization, weighting, generator):
    schedule = LinearSchedule(zero_terminal_snr=True)
    t = torch.tensor([1.0, 1.0 - 1e-6, 0.9995, 0.999])
    x_0, noise = torch.randn(2, 4, 1, 2, 2, generator=generator)
    output = torch.zeros_like(x_0).requires_grad_()
    objective = Objective(parameterization, SquaredError(), weighting)
    loss = objective(output, x_0, noise, schedule.rates(t), schedule.log_snr(t))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert output.grad.isfinite().all()
    assert torch.equal(q_sample(x_0, noise, schedule.rates(t))[0], noise[0])


def test_min_snr_weights_without_signal_are_the_limits():
    log_snr = torch.tensor([-math.inf, -200.0, -30.0])
    assert torch.equal(MinSNR()(log_snr, Noise()), torch.ones(3))
    for parameterization in (Image(), Velocity()):
        weights = MinSNR()(log_snr, parameterization)
        torch.testing.assert_close(weights, torch.tensor([0.0, 0.0, math.exp(-30)]), rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("parameterization", [Image(), Velocity()], ids=lambda p: p.name)
def test_image_and_velocity_predictions_invert_on_pure_noise(parameterization, generator):
    rates = LinearSchedule(zero_terminal_snr=True).rates(ONE)
    x_0, noise = torch.randn(2, 1, 1, 2, 2, generator=generator)
    prediction = parameterization.invert(parameterization.target(x_0, noise, rates), noise, rates)
    torch.testing.assert_close(prediction.image, x_0)
    torch.testing.assert_close(prediction.noise, noise)
