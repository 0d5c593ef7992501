"""Every step on the straight and on the exploding path against diffusers, given the same x_t and network outputs.

The network is any smooth function of its scaled input and noise level; both sides hand the input to it themselves.
"""

import numpy as np
import pytest
import torch
from diffusers import EDMEulerScheduler, FlowMatchEulerDiscreteScheduler, HeunDiscreteScheduler
from torch import Tensor, nn

from choices import make
from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.grid import KarrasGrid
from ddpm_lightning.samplers.heun import Heun

SHAPE = (4, 1, 2, 3)
every_number = pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])


class Network(nn.Module):
    """Records its arguments, (scaled x, noise level), and its outputs."""

    num_classes = None

    def __init__(self, conditioning: Conditioning) -> None:
        super().__init__()
        self.conditioning = conditioning
        self.calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor | None = None) -> Tensor:
        output = (1.5 * x + noise_level[:, None, None, None]).sin()
        self.calls.append((x, noise_level, output))
        return output


def edm_times(schedule, sigmas: Tensor) -> list[float]:
    """The times at which sigma is each of these, the last of which is 0."""
    return [*schedule.time_of_log_snr(-2 * sigmas[:-1].double().log()).tolist(), 0.0]


def run(sampler, denoiser: Denoiser, start: Tensor, times: list[float]) -> list[Tensor]:
    """x at every time, the sample last."""
    states: list[Tensor] = []
    with torch.no_grad():
        sample = sampler.loop(denoiser, start, times, None, clip=None, callback=lambda s: states.append(s.x_t))
    return [*states, sample]


@every_number
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_ddim_on_the_straight_path(steps, shift, generator):
    """Euler's method for the velocity, at diffusers' own sigmas, which are our times."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    times = scheduler.sigmas.double().tolist()
    network = Network(Conditioning.TIME)
    denoiser = Denoiser(network, make("schedule", "flow"), make("predict", "flow"))
    states = run(DDIM(steps), denoiser, torch.randn(SHAPE, generator=generator), times)
    assert len(network.calls) == steps
    for i, timestep in enumerate(scheduler.timesteps):
        scaled, level, output = network.calls[i]
        assert torch.equal(scaled, states[i])
        torch.testing.assert_close(level, (timestep / 1000).expand(len(level)))
        expected = scheduler.step(output, timestep, states[i], return_dict=False)[0]
        torch.testing.assert_close(states[i + 1], expected, rtol=1e-5, atol=2e-6)


@every_number
def test_ddim_on_the_exploding_path(steps, generator):
    """EDM's preconditioning, Karras's sigmas and Euler's method: start, network inputs, predictions and samples."""
    scheduler = EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5, rho=7.0)
    scheduler.set_timesteps(steps)
    schedule = make("schedule", "edm")
    network = Network(Conditioning.C_NOISE)
    denoiser = Denoiser(network, schedule, make("predict", "edm", "predict.sigma_data=0.5"))
    sampler, states = DDIM(steps, grid=KarrasGrid(7.0), clip=False), []
    noise = torch.randn(SHAPE, generator=generator)
    sample = sampler(denoiser, noise, None, callback=lambda s: states.append(s.x_t))
    states.append(sample)
    torch.testing.assert_close(states[0], noise * scheduler.init_noise_sigma)
    times = torch.tensor(sampler.times(denoiser), dtype=torch.float64)
    torch.testing.assert_close(schedule.rates(times).sigma.float(), scheduler.sigmas, rtol=1e-5, atol=0)
    for i, timestep in enumerate(scheduler.timesteps):
        scaled, level, output = network.calls[i]
        torch.testing.assert_close(scaled, scheduler.scale_model_input(states[i], timestep), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(level, timestep.expand(len(level)), rtol=1e-5, atol=1e-6)
        expected, x_0 = scheduler.step(output, timestep, states[i], return_dict=False)
        torch.testing.assert_close(states[i + 1], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sample, x_0, rtol=1e-5, atol=1e-5)


def test_the_start_has_the_width_of_diffusers():
    """sqrt(sigma_max^2 + 1): the width of x_t for data of unit variance."""
    for sigma_max in (80.0, 20.0):
        schedule = make("schedule", "edm", f"schedule.sigma_max={sigma_max}")
        std = schedule.rates(torch.ones((), dtype=torch.float64)).std()
        assert float(std) == pytest.approx(EDMEulerScheduler(sigma_max=sigma_max).init_noise_sigma, rel=1e-12)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("steps", [2, 3, 7, 50])
@pytest.mark.parametrize("use_karras_sigmas", [False, True])
@pytest.mark.parametrize("target", ["noise", "image"])
def test_heun_on_the_exploding_path(steps, use_karras_sigmas, target, generator):
    """diffusers is called twice for each step but the last, and its second call returns x at the node."""
    scheduler = HeunDiscreteScheduler(
        beta_start=1e-4,
        beta_end=0.02,
        prediction_type="epsilon",
        use_karras_sigmas=use_karras_sigmas,
    )
    scheduler.set_timesteps(steps)
    schedule = make("schedule", "edm", "schedule.sigma_max=200.0")
    sigmas = torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1::2]])
    network = Network(Conditioning.NOISE_VARIANCE)
    denoiser = Denoiser(network, schedule, make("predict", target))
    states = run(
        Heun(steps), denoiser, sigmas[0] * torch.randn(SHAPE, generator=generator), edm_times(schedule, sigmas)
    )
    assert len(network.calls) == len(scheduler.timesteps) == 2 * steps - 1
    timesteps, calls = iter(scheduler.timesteps), iter(network.calls)

    def stage(x: Tensor) -> Tensor:
        """diffusers' next call, from x."""
        timestep, (scaled, _, output) = next(timesteps), next(calls)
        torch.testing.assert_close(scaled, scheduler.scale_model_input(x, timestep), rtol=1e-4, atol=rounding)
        if target == "image":  # diffusers' Heun does not have it
            output = (x - output) / scheduler.sigmas[scheduler.step_index]
        return scheduler.step(output, timestep, x, return_dict=False)[0]

    for i, x in enumerate(states[:-1]):
        rounding = 1e-6 * float(x.abs().max())
        if i < steps - 1:
            predicted = stage(x)
            # diffusers divides x - x_0 by the sigma that the step goes to, and so x's rounding too.
            amplified = rounding * float(sigmas[i] / sigmas[i + 1])
            torch.testing.assert_close(states[i + 1], stage(predicted), rtol=1e-5, atol=rounding + amplified)
        else:
            torch.testing.assert_close(states[i + 1], stage(x), rtol=1e-5, atol=1e-5 + rounding)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("steps", [2, 3, 7, 50])
def test_karras_times_are_diffusers_sigmas(steps):
    """Its `_convert_to_karras` has rho = 7 built in."""
    schedule = make("schedule", "edm")
    ends = np.array([80.0, 0.002])
    expected = HeunDiscreteScheduler()._convert_to_karras(ends, steps)
    times = torch.tensor(KarrasGrid(7.0)(schedule, steps, 1.0)[:-1], dtype=torch.float64)
    np.testing.assert_allclose(schedule.rates(times).sigma.numpy(), expected, rtol=1e-9)
