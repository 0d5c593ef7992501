"""Samplers where a schedule stands still, jumps to the data, or leaves no signal at all."""

import pytest
import torch
from ddpm_lightning.diffusion.parameterization import Image, Noise, Velocity
from ddpm_lightning.diffusion.rate_schedules import CosineRates, LinearRates

from ddpm_lightning.diffusion.guidance import ClassifierFreeGuidance
from ddpm_lightning.diffusion.schedule import CosineSchedule, LinearSchedule
from ddpm_lightning.samplers.ddim import DDIM, ddim
from ddpm_lightning.samplers.ddpm import DDPM, ddpm

SAMPLERS = {
    "ddim": DDIM,
    "ddim-random": lambda steps, **options: DDIM(steps, eta=1.0, **options),
    "ddpm": DDPM,
    "ddpm-between": lambda steps, **options: DDPM(steps, variance_mix=0.5, **options),
    "ddpm-large": lambda steps, **options: DDPM(steps, variance_mix=1.0, **options),
}
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
EVERYWHERE = [Noise(), Image(), Velocity()]
WITHOUT_SIGNAL = [Image(), Velocity()]


@every_sampler
@pytest.mark.parametrize("parameterization", EVERYWHERE, ids=lambda p: p.name)
@pytest.mark.parametrize("schedule", [CosineRates(25), LinearRates(25)], ids=["cosine_rates", "linear_rates"])
def test_between_limits_every_sampler_ends_at_the_image_that_was_predicted_last(
    schedule, parameterization, sampler, make_denoiser, start, noise_source
):
    states = []
    denoiser = make_denoiser(parameterization, schedule)
    samples = sampler(25)(denoiser, start, noise_source(start.shape), callback=states.append)
    assert all(part.isfinite().all() for state in states for part in (state.x_t, *state.prediction))
    torch.testing.assert_close(samples, states[-1].prediction.image, rtol=0, atol=1e-6)


@every_sampler
def test_steps_in_which_the_schedule_stands_still_change_nothing(sampler, make_denoiser, start, noise_source):
    """The linear schedule's signal is below its limit of 0.02 from t = 0.88 on."""
    states = []
    denoiser = make_denoiser(Velocity(), LinearRates())
    sampler(50)(denoiser, start, noise_source(start.shape), callback=states.append)
    for state in states[:7]:
        torch.testing.assert_close(state.x_t, start, rtol=0, atol=1e-5)
    assert (states[-1].x_t - start).abs().max() > 0.1


@every_sampler
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("parameterization", WITHOUT_SIGNAL, ids=lambda p: p.name)
def test_sampling_from_pure_noise_is_finite(parameterization, steps, clip, sampler, make_denoiser, start, noise_source):
    states = []
    denoiser = make_denoiser(parameterization, CosineSchedule(zero_terminal_snr=True))
    samples = sampler(steps, clip=clip)(denoiser, start, noise_source(start.shape), callback=states.append)
    assert states[0].t == 1
    torch.testing.assert_close(states[0].prediction.noise, start, rtol=0, atol=0)
    assert samples.isfinite().all()
    assert all(part.isfinite().all() for state in states for part in (state.x_t, *state.prediction))


def test_the_first_ddpm_step_from_pure_noise_draws_from_the_forward_process(make_denoiser, start):
    """Its mean is the predicted image times the signal rate, and what x was before is forgotten."""
    states, schedule = [], LinearSchedule(zero_terminal_snr=True)
    noise = torch.full_like(start, 2.0)
    ddpm(make_denoiser(Image(), schedule), start, [1.0, 0.5, 0.0], lambda _: noise, callback=states.append)
    rates = schedule.rates(torch.tensor([0.5]))
    expected = rates.signal * states[0].prediction.image + rates.noise * 2.0
    torch.testing.assert_close(states[1].x_t, expected)


@pytest.mark.parametrize("loop", [ddpm, ddim])
def test_the_loops_refuse_it_on_a_grid_of_ones_own(loop, make_denoiser, start, noise_source):
    denoiser = make_denoiser(Noise(), CosineSchedule(zero_terminal_snr=True))
    with pytest.raises(ValueError, match="says nothing about the image at t = 1"):
        loop(denoiser, start, [1.0, 0.5, 0.0], noise_source(start.shape))


@every_sampler
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("guided", [False, True])
def test_predicted_noise_is_refused_where_it_is_no_image(guided, clip, sampler, make_denoiser, start, noise_source):
    denoiser = make_denoiser(Noise(), CosineSchedule(zero_terminal_snr=True), num_classes=3)
    label = torch.tensor([0, 1])
    guide = ClassifierFreeGuidance(denoiser, 2.0) if guided else denoiser
    refused = pytest.raises(
        ValueError, match=r"zero_terminal_snr=true .* loss_on=velocity or loss_on=image, .* sampler.t_max"
    )
    with refused:
        sampler(3, clip=clip).times(guide)
    with refused:
        sampler(3, clip=clip)(guide, start, noise_source(start.shape), label=label)
    samples = sampler(3, clip=clip, t_max=0.98)(guide, start, noise_source(start.shape), label=label)
    assert samples.isfinite().all()
