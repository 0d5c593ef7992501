"""Samplers on data x_0 ~ N(mu, C), whose optimal denoiser is known: the exact error of a finite number of steps.

They start from x_T's own distribution, so that the steps are all there is to err. The last step, to 0, returns the
image predicted at the last node, in which the variance that was not yet decided there is missing.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from choices import choices, make
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.samplers.grid import QuadraticGrid
from ddpm_lightning.samplers.sampler import Sampler
from samplers.every_sampler import for_every_sampler, is_exact, samplers
from samplers.gaussian import (
    COVARIANCE,
    IMAGE_SHAPE,
    MEAN,
    GaussianDenoiser,
    function_of_covariance,
    marginal,
    sampled_moments,
)

SCHEDULES = {name: make("schedule", name) for name in choices("schedule")}
GRIDS = {name: make("grid", name) for name in choices("grid")}
PLAIN = samplers(clip=False)
CASES = [
    pytest.param(sampler, grid, id=f"{name}-{grid.name}")
    for name, sampler in PLAIN.items()
    for grid in GRIDS.values()
    if is_exact(sampler) and (name in choices("sampler") or grid.name == "uniform")
]


def errors(sampler: Sampler, schedule: Schedule) -> Tensor:
    """The mean's and the covariance's, (5, 4)."""
    mean, covariance = sampled_moments(sampler, schedule, lambda z: marginal(schedule, 1.0, z))
    last = torch.tensor(sampler.times(GaussianDenoiser(schedule))[-2], dtype=torch.float64)
    alpha, sigma = schedule.rates(last)
    decided = function_of_covariance(lambda c: (alpha * c) ** 2 / ((alpha**2) * c + sigma**2))
    return torch.cat([(mean - MEAN)[None], covariance - decided])


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
@pytest.mark.parametrize(("sampler", "grid"), CASES)
def test_samples_tend_to_the_data_as_steps_grow(schedule, sampler, grid):
    """Errors of the method's order vanish from the extrapolation of Richardson (1911)."""
    grid_enters_last_beta = isinstance(grid, QuadraticGrid) and schedule.rates(torch.tensor(schedule.t_min)).sigma > 0.1
    n = 15 if grid_enters_last_beta else 32  # below t_min such a schedule drops to the data, which no step resolves
    few, many = (errors(replace(sampler, steps=steps, grid=grid), schedule) for steps in (n, 2 * n))
    order = 2 if sampler.name == "heun" else 1
    extrapolated = (2**order * many - few) / (2**order - 1)
    assert many.abs().max() < (0.02 if order == 2 else 0.3)
    assert extrapolated.abs().max() < (0.002 if order == 2 else 0.07)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize(
    ("sampler", "options", "tolerance"),
    [
        ("ddim", {}, 0.015),
        ("ddim", {"eta": 0.5}, 0.02),
        ("ddim-random", {}, 0.03),
        ("ddpm", {}, 0.03),
        ("ddpm-large", {}, 0.005),
        ("heun", {}, 0.002),
    ],
)
def test_many_steps_from_pure_noise_give_the_data(schedule, sampler, options, tolerance):
    mean, covariance = sampled_moments(replace(PLAIN[sampler], steps=400, **options), SCHEDULES[schedule], lambda z: z)
    # The linear schedule leaves 0.6 % of the image at t = 1, where sampling starts from pure noise.
    torch.testing.assert_close(mean, MEAN, rtol=0, atol=0.005)
    torch.testing.assert_close(covariance, COVARIANCE, rtol=0, atol=tolerance)


@pytest.mark.parametrize("schedule", ["cosine", "flow", "edm"])
@for_every_sampler(steps=20, clip=False)
def test_random_samples_agree_with_the_exact_moments(sampler, schedule, generator):
    """The same check the ordinary way, so that nothing hangs on reading the affine map: bounds of five errors.

    Also of where sampling starts: from noise as wide as x_T of data of unit variance.
    """
    count, schedule = 20_000, SCHEDULES[schedule]
    noise = torch.randn(count, *IMAGE_SHAPE, generator=generator)
    samples = sampler(
        GaussianDenoiser(schedule), noise, lambda _: torch.randn(noise.shape, generator=generator)
    ).flatten(1)
    alpha, sigma = schedule.rates(torch.ones((), dtype=torch.float64))
    mean, covariance = sampled_moments(sampler, schedule, lambda z: (alpha**2 + sigma**2).sqrt() * z)
    largest = covariance.diagonal().max().item()
    assert (samples.mean(0) - mean).abs().max() < 5 * (largest / count) ** 0.5
    assert (samples.T.cov() - covariance).abs().max() < 5 * largest * (2 / count) ** 0.5


@pytest.mark.parametrize("name", [name for name, sampler in PLAIN.items() if is_exact(sampler)])
def test_more_steps_are_more_exact(name):
    sampler = replace(PLAIN[name], grid=GRIDS["uniform"])
    worst = [errors(replace(sampler, steps=n), SCHEDULES["cosine"]).abs().max().item() for n in (10, 40, 160)]
    assert worst[0] > 2 * worst[1] > 4 * worst[2]
