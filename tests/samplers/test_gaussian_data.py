"""Samplers on data whose perfect denoiser is known: x_0 ~ N(mu, Sigma), E[x_0 | x_t] is affine in x_t.

A sampler is then an affine map of its starting noise and of the noise of each step. Feeding it a zero and each unit
vector of all of these reads that map off, so the mean and the covariance of the samples are exact: what is left is the
error of a finite number of steps.
"""

import pytest
import torch
from ddpm_lightning.diffusion.parameterization import Prediction, noise_from_image
from torch import Tensor

from ddpm_lightning.diffusion.schedule import CosineSchedule, LinearSchedule, Schedule
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.ddpm import DDPM
from ddpm_lightning.samplers.sampler import Sampler

MEAN = torch.tensor([0.5, -1.0, 0.2, 0.0])
ROOT = torch.tensor([[0.8, 0.0, 0.0, 0.0], [0.3, 0.5, 0.0, 0.0], [-0.2, 0.1, 1.2, 0.0], [0.0, 0.0, 0.1, 0.1]])
COVARIANCE = ROOT @ ROOT.T
IMAGE_SHAPE = (1, 2, 2)
SCHEDULES = {"linear": LinearSchedule(), "cosine": CosineSchedule()}


class GaussianDenoiser:
    """The exact expectation of the image given x_t."""

    t_max = 1.0

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def __call__(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Prediction:
        signal, noise_rate = (rate[0] for rate in self.schedule.rates(t.double()))  # all samples are at one time
        covariance = COVARIANCE.double()
        gain = signal * covariance @ (signal**2 * covariance + noise_rate**2 * torch.eye(4)).inverse()
        image = MEAN + (x_t.flatten(1).double() - signal * MEAN) @ gain.T
        image = image.float().reshape(x_t.shape)
        return Prediction(image, noise_from_image(x_t, image, self.schedule.rates(t)))


def sampled_moments(sampler: Sampler, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """Exact mean (4,) and covariance (4, 4) of the samples of this sampler."""
    inputs = 4 * sampler.steps  # the starting noise, then that of every step but the last, which draws none
    unit = torch.cat([torch.zeros(1, inputs), torch.eye(inputs)]).reshape(-1, sampler.steps, *IMAGE_SHAPE)
    samples = sampler(GaussianDenoiser(schedule), unit[:, 0], lambda step: unit[:, step + 1]).flatten(1).double()
    mean, jacobian = samples[0], samples[1:] - samples[0]
    return mean, jacobian.T @ jacobian


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
@pytest.mark.parametrize(
    ("sampler", "tolerance"),
    [
        (DDIM(400, clip=False), 0.015),
        (DDIM(400, clip=False, eta=0.5), 0.02),
        (DDIM(400, clip=False, eta=1.0), 0.03),
        (DDPM(400, clip=False), 0.03),
        (DDPM(400, clip=False, variance_mix=1.0), 0.005),
    ],
    ids=["ddim", "ddim-0.5", "ddim-1", "ddpm-small", "ddpm-large"],
)
def test_samples_have_the_mean_and_the_covariance_of_the_data(schedule, sampler, tolerance):
    mean, covariance = sampled_moments(sampler, schedule)
    # The linear schedule leaves 0.6 % of the image at t = 1, where sampling starts from pure noise.
    torch.testing.assert_close(mean.float(), MEAN, rtol=0, atol=0.005)
    torch.testing.assert_close(covariance.float(), COVARIANCE, rtol=0, atol=tolerance)


@pytest.mark.parametrize("make", [lambda n: DDIM(n, clip=False), lambda n: DDPM(n, clip=False)], ids=["ddim", "ddpm"])
def test_more_steps_are_more_exact(make):
    errors = [(sampled_moments(make(n), SCHEDULES["cosine"])[1] - COVARIANCE).abs().max().item() for n in (10, 40, 160)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_random_samples_agree_with_the_exact_moments(generator):
    """The same check the ordinary way, so that nothing hangs on reading the affine map: bounds of five errors."""
    count, sampler = 20_000, DDPM(50, clip=False)
    noise = torch.randn(count, *IMAGE_SHAPE, generator=generator)
    samples = sampler(
        GaussianDenoiser(SCHEDULES["cosine"]), noise, lambda _: torch.randn(noise.shape, generator=generator)
    ).flatten(1)
    mean, covariance = sampled_moments(sampler, SCHEDULES["cosine"])
    assert (samples.mean(0) - mean).abs().max() < 5 * 1.3 / count**0.5
    assert (samples.T.cov() - covariance).abs().max() < 5 * 2 * 1.5 / count**0.5


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
@pytest.mark.parametrize("steps", [3, 50, 1000])
def test_ddim_with_eta_one_is_ddpm(schedule, steps, generator):
    """Song et al. 2021, section 4.1: the same Gaussian at every step, so the same path for the same noise."""
    start = torch.randn(8, *IMAGE_SHAPE, generator=generator)
    noise = torch.randn(steps, *start.shape, generator=generator)
    paths: list[list[Tensor]] = [[], []]
    for sampler, path in zip((DDIM(steps, clip=False, eta=1.0), DDPM(steps, clip=False)), paths, strict=True):
        sampler(
            GaussianDenoiser(schedule),
            start,
            noise.__getitem__,
            callback=lambda state, path=path: path.append(state.x_t),
        )
    torch.testing.assert_close(torch.stack(paths[0]), torch.stack(paths[1]), rtol=0, atol=1e-4)
