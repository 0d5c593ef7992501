"""Samplers at plateaus of a schedule, at a jump to the data, and without any signal."""

from dataclasses import replace

import pytest
import torch

from choices import choices, make
from ddpm_lightning.diffusion.guidance import ClassifierFreeGuidance
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.schedules.limited import LimitedCosineSchedule, LimitedLinearSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.target import Image, Noise, Velocity
from ddpm_lightning.samplers.ddpm import DDPM
from samplers.every_sampler import for_every_sampler

PURE_NOISE = {"vp": CosineSchedule(zero_terminal_snr=True), "flow": make("schedule", "flow")}
WITHOUT_SIGNAL = [name for name in choices("predict") if name != "noise"]


@for_every_sampler(steps=8)
@pytest.mark.parametrize("target", choices("predict"))
@pytest.mark.parametrize("schedule", [LimitedCosineSchedule(25), LimitedLinearSchedule(25)], ids=["cosine", "linear"])
def test_between_limits_samplers_end_at_the_last_image(schedule, target, sampler, make_denoiser, start, noise_source):
    states = []
    denoiser = make_denoiser(make("predict", target), schedule)
    samples = sampler(denoiser, start, noise_source(start.shape), callback=states.append)
    assert all(part.isfinite().all() for state in states for part in (state.x_t, *state.prediction[:2]))
    torch.testing.assert_close(samples, states[-1].prediction.x_0, rtol=0, atol=1e-6)


@for_every_sampler(steps=50, t_max=1.0)
def test_steps_along_a_plateau_change_nothing(sampler, make_denoiser, start, noise_source):
    """The linear schedule's alpha is below its limit of 0.02 from t = 0.88 on."""
    states = []
    denoiser = make_denoiser(Velocity(), LimitedLinearSchedule())
    sampler(denoiser, start, noise_source(start.shape), callback=states.append)
    for state in states[:7]:
        torch.testing.assert_close(state.x_t, start, rtol=0, atol=1e-5)
    assert (states[-1].x_t - start).abs().max() > 0.1


@for_every_sampler()
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("target", WITHOUT_SIGNAL)
@pytest.mark.parametrize(
    "schedule", [CosineSchedule(zero_terminal_snr=True), make("schedule", "flow")], ids=["vp", "flow"]
)
def test_sampling_from_pure_noise_is_finite(schedule, target, steps, clip, sampler, make_denoiser, start, noise_source):
    states = []
    denoiser = make_denoiser(make("predict", target), schedule)
    sampler = replace(sampler, steps=steps, clip=clip, t_max=1.0)
    samples = sampler(denoiser, start, noise_source(start.shape), callback=states.append)
    assert states[0].t == 1
    torch.testing.assert_close(states[0].prediction.eps, start, rtol=0, atol=0)
    assert samples.isfinite().all()
    assert all(part.isfinite().all() for state in states for part in (state.x_t, *state.prediction[:2]))


def test_ddpm_from_pure_noise_first_draws_from_q(make_denoiser, start):
    """The mean is alpha times the predicted x_0, independent of the x before."""
    states, schedule = [], LinearSchedule(zero_terminal_snr=True)
    noise = torch.full_like(start, 2.0)
    DDPM(2).loop(make_denoiser(Image(), schedule), start, [1.0, 0.5, 0.0], lambda _: noise, callback=states.append)
    alpha, sigma = schedule.rates(torch.tensor(0.5))
    torch.testing.assert_close(states[1].x_t, alpha * states[0].prediction.x_0 + sigma * 2.0)


@for_every_sampler(steps=2)
def test_the_loop_refuses_it_on_given_times(sampler, make_denoiser, start, noise_source):
    denoiser = make_denoiser(Noise(), CosineSchedule(zero_terminal_snr=True))
    with pytest.raises(ValueError, match="says nothing about the image at t = 1"):
        sampler.loop(denoiser, start, [1.0, 0.5, 0.0], noise_source(start.shape))


@for_every_sampler(steps=3)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("guided", [False, True])
def test_predicted_noise_is_refused_without_signal(guided, clip, sampler, make_denoiser, start, noise_source):
    denoiser = make_denoiser(Noise(), CosineSchedule(zero_terminal_snr=True), num_classes=3)
    label = torch.tensor([0, 1])
    guide = ClassifierFreeGuidance(denoiser, 2.0) if guided else denoiser
    late = replace(sampler, clip=clip, t_max=1.0)
    refused = pytest.raises(ValueError, match=r"nothing about the image at t = 1, .* predict=.* sampler.t_max=0.98")
    with refused:
        late.times(guide)
    with refused:
        late(guide, start, noise_source(start.shape), label=label)
    samples = replace(late, t_max=None)(guide, start, noise_source(start.shape), label=label)
    assert samples.isfinite().all()
