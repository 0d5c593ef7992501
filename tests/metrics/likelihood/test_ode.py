"""The likelihood by the ODE: against densities that are known, in double precision."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from choices import make
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.schedules.flow import FlowSchedule
from ddpm_lightning.diffusion.target import Noise, Prediction, Velocity
from ddpm_lightning.metrics.likelihood.images import LabelledImages, bits_per_dimension
from ddpm_lightning.metrics.likelihood.ode import ODELikelihood
from samplers.gaussian import (
    COVARIANCE,
    EIGENVECTORS,
    IMAGE_SHAPE,
    MEAN,
    ROOT,
    GaussianDenoiser,
    function_of_covariance,
)

PATHS = ("cosine", "linear", "flow", "edm")


class IsotropicDenoiser(GaussianDenoiser):
    """The exact expectations for pixels that are independent, of this mean and standard deviation."""

    def __init__(self, schedule, mean=0.1, std=0.5):
        super().__init__(schedule)
        self.mean, self.std = mean, std

    def __call__(self, x_t, t, label=None, estimate=None):
        alpha, sigma = self.schedule.rates(t[0].double())
        whitened = (x_t - alpha * self.mean) / (alpha**2 * self.std**2 + sigma**2)
        return Prediction(self.mean + alpha * self.std**2 * whitened, sigma * whitened)


def data(count: int, generator) -> torch.Tensor:
    return (torch.randn(count, 4, generator=generator, dtype=torch.float64) @ ROOT.T + MEAN).reshape(-1, *IMAGE_SHAPE)


def law_at_the_clean_end(schedule, t_min: float, t_max: float) -> MultivariateNormal:
    """The law of x_t / alpha at t_min, if x at t_max is N(0, n^2) and solutions keep (x_t - mean) / std.

    Along each eigenvector of C, std^2 of x_t is alpha^2 c + sigma^2.
    """
    (a, s), (a_end, s_end) = (schedule.rates(torch.tensor(t, dtype=torch.float64)) for t in (t_min, t_max))
    ratio = function_of_covariance(lambda c: ((a**2 * c + s**2) / (a_end**2 * c + s_end**2)).sqrt()) / a
    return MultivariateNormal(MEAN - ratio @ (a_end * MEAN), ratio @ ratio * (a_end**2 + s_end**2))


def exact_divergence(solver: ODELikelihood, denoiser, x: torch.Tensor) -> torch.Tensor:
    """The log density with the exact trace: the mean over the probes of a Hadamard matrix, whose rows are orthogonal."""
    hadamard = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64)
    return torch.stack(
        [solver.log_density(denoiser, x, row.reshape(IMAGE_SHAPE).expand_as(x)) for row in hadamard]
    ).mean(0)


@pytest.mark.parametrize("name", PATHS)
def test_the_density_is_that_of_the_ode(name, generator):
    schedule = make("schedule", name)
    x, denoiser, solver = data(20, generator), GaussianDenoiser(schedule), ODELikelihood(steps=600)
    nodes = solver.nodes(denoiser)
    expected = law_at_the_clean_end(schedule, nodes[0].t, nodes[-1].t).log_prob(x.flatten(1))
    torch.testing.assert_close(exact_divergence(solver, denoiser, x), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", PATHS)
def test_the_density_is_that_of_the_data(name, generator):
    """Up to the noise that is left at t_min, and the signal at t_max, of which `linear` keeps a standard deviation."""
    schedule = make("schedule", name)
    x = data(20, generator)
    found = exact_divergence(ODELikelihood(steps=200), GaussianDenoiser(schedule), x)
    expected = MultivariateNormal(MEAN, COVARIANCE).log_prob(x.flatten(1))
    torch.testing.assert_close(found, expected, rtol=0, atol=0.06)


def test_the_error_falls_with_the_square_of_the_step(generator):
    schedule, x = make("schedule", "cosine"), data(10, generator)
    denoiser, errors = GaussianDenoiser(schedule), []
    for steps in (50, 100, 200):
        solver = ODELikelihood(steps=steps)
        expected = law_at_the_clean_end(schedule, schedule.t_min, 1.0).log_prob(x.flatten(1))
        errors.append(float((exact_divergence(solver, denoiser, x) - expected).abs().mean()))
    print(errors)
    assert errors[0] / errors[1] > 3 and errors[1] / errors[2] > 3
