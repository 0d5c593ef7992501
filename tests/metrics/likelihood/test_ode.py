"""The likelihood by the ODE: against densities that are known, in double precision."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from choices import make
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.target import Noise, Prediction, Velocity
from ddpm_lightning.metrics.likelihood.images import LabelledImages
from ddpm_lightning.metrics.likelihood.ode import ODELikelihood
from metrics.likelihood.gaussian import IsotropicDenoiser
from samplers.gaussian import COVARIANCE, IMAGE_SHAPE, MEAN, ROOT, GaussianDenoiser, function_of_covariance

PATHS = ("cosine", "linear", "flow", "edm")
HADAMARD = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64)
"""Rows whose mean outer product is the identity: as probes, they give the exact trace of four pixels."""


@pytest.fixture
def x(generator) -> torch.Tensor:
    """Images (8, 1, 2, 2), from N(MEAN, COVARIANCE)."""
    return (torch.randn(8, 4, generator=generator, dtype=torch.float64) @ ROOT.T + MEAN).reshape(-1, *IMAGE_SHAPE)


def law_at_the_clean_end(schedule, t_min: float, t_max: float) -> MultivariateNormal:
    """The law of x_t / alpha at t_min, if x at t_max is N(0, n^2) and solutions keep (x_t - mean) / std.

    Along each eigenvector of C, std^2 of x_t is alpha^2 c + sigma^2.
    """
    (a, s), (a_end, s_end) = (schedule.rates(torch.tensor(t, dtype=torch.float64)) for t in (t_min, t_max))
    ratio = function_of_covariance(lambda c: ((a**2 * c + s**2) / (a_end**2 * c + s_end**2)).sqrt()) / a
    return MultivariateNormal(MEAN - ratio @ (a_end * MEAN), ratio @ ratio * (a_end**2 + s_end**2))


def with_exact_trace(solver: ODELikelihood, denoiser, x: torch.Tensor) -> torch.Tensor:
    """The log density of x, (B,), with the divergence itself."""
    probes = HADAMARD.repeat_interleave(len(x), 0).reshape(-1, *IMAGE_SHAPE)
    return solver.log_density(denoiser, x.repeat(4, 1, 1, 1), probes).reshape(4, -1).mean(0)


@pytest.mark.parametrize("name", PATHS)
def test_the_density_is_that_of_the_model_and_near_that_of_its_data(name, x):
    schedule = make("schedule", name)
    denoiser, solver = GaussianDenoiser(schedule), ODELikelihood(steps=300)
    found, ends = with_exact_trace(solver, denoiser, x), solver.nodes(denoiser)
    model = law_at_the_clean_end(schedule, ends[0].t, ends[-1].t)
    torch.testing.assert_close(found, model.log_prob(x.flatten(1)), rtol=0, atol=1e-3)
    # A little noise is left at t_min, and on some paths a little of the image at t_max.
    torch.testing.assert_close(found, MultivariateNormal(MEAN, COVARIANCE).log_prob(x.flatten(1)), rtol=0, atol=0.06)


@pytest.mark.parametrize("name", ["cosine_rates", "linear_rates"])
def test_a_path_that_begins_with_noise_has_no_likelihood(name):
    denoiser = GaussianDenoiser(make("schedule", name))
    with pytest.raises(ValueError, match=r"no likelihood of images by an ODE: even at t = 0.001 its noise is 0.3"):
        ODELikelihood().check(SimpleNamespace(**vars(denoiser), t_max=1.0, self_conditioning=False))


def test_other_ends_give_the_model_between_them(x):
    schedule = make("schedule", "cosine")
    solver = ODELikelihood(steps=150, t_min=0.1, t_max=0.7)
    expected = law_at_the_clean_end(schedule, 0.1, 0.7).log_prob(x.flatten(1))
    torch.testing.assert_close(with_exact_trace(solver, GaussianDenoiser(schedule), x), expected, rtol=0, atol=1e-3)


def test_the_error_falls_with_the_square_of_the_step(x):
    schedule = make("schedule", "cosine")
    expected = law_at_the_clean_end(schedule, schedule.t_min, 1.0).log_prob(x.flatten(1))
    errors = [
        float((with_exact_trace(ODELikelihood(steps=steps), GaussianDenoiser(schedule), x) - expected).abs().mean())
        for steps in (25, 50, 100)
    ]
    assert errors[0] / errors[1] > 3 and errors[1] / errors[2] > 3


def test_one_probe_is_unbiased_and_exact_for_independent_pixels(x, generator):
    solver, schedule = ODELikelihood(steps=20), make("schedule", "cosine")
    probe = torch.randn(4000, 4, generator=generator).sign().double().reshape(-1, *IMAGE_SHAPE)
    one = x[:1].expand(4000, -1, -1, -1)
    estimates = solver.log_density(GaussianDenoiser(schedule), one, probe)
    exact = with_exact_trace(solver, GaussianDenoiser(schedule), x[:1])
    assert estimates.std() > 0.1
    assert abs(float(estimates.mean() - exact)) < 4 * float(estimates.std()) / math.sqrt(4000)
    independent = solver.log_density(IsotropicDenoiser(schedule), one[:50], probe[:50])
    assert float(independent.std()) < 1e-12


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (torch.tensor(-1.5), torch.tensor(2.5))])
def test_bits_per_dimension_are_those_of_a_discretised_normal(value_range):
    """Its probabilities are known, and its density is nearly constant within a bin."""
    low, high = (float(value) for value in value_range)
    mean, std = (low + high) / 2, (high - low) / 8
    levels = torch.linspace(low, high, 256, dtype=torch.float64)
    half = (high - low) / 255 / 2
    probability = Normal(mean, std).cdf(levels + half) - Normal(mean, std).cdf(levels - half)
    expected = float(-(probability * probability.log2()).sum())

    # Every level in proportion to its probability.
    places = (torch.arange(4096, dtype=torch.float64) + 0.5) / 4096
    x_0 = levels[torch.searchsorted(probability.cumsum(0), places * probability.sum())].reshape(256, 1, 4, 4)
    images = LabelledImages(x_0, torch.arange(256), None, value_range)
    # From t_max = 1 there is no signal on this path, so the prior is exact.
    denoiser = IsotropicDenoiser(make("schedule", "flow"), mean, std)
    bits = ODELikelihood(steps=60, dequantizations=4).bits(denoiser, images, seed=0)
    assert float(bits.mean()) == pytest.approx(expected, abs=3e-3)


def test_noise_is_keyed_by_image_and_draw():
    denoiser, solver = IsotropicDenoiser(make("schedule", "cosine")), ODELikelihood(steps=3, dequantizations=2)
    x_0 = torch.zeros(6, 1, 2, 2, dtype=torch.float64)
    together = solver.bits(denoiser, LabelledImages(x_0, torch.arange(6)), seed=1)
    apart = [
        solver.bits(denoiser, LabelledImages(x_0[:3], torch.arange(6)[part]), seed=1)
        for part in (slice(3), slice(3, 6))
    ]
    torch.testing.assert_close(torch.cat(apart), together, rtol=1e-12, atol=0)
    assert len(together.unique()) == 6
    assert not torch.equal(together, solver.bits(denoiser, LabelledImages(x_0, torch.arange(6)), seed=2))
    one = ODELikelihood(steps=3).bits(denoiser, LabelledImages(x_0, torch.arange(6)), seed=1)
    assert not (one == together).any()


class Zeros(torch.nn.Module):
    conditioning, num_classes = "time", None

    def forward(self, x, noise_level, label):
        return 0 * x[:, :1]


@pytest.mark.parametrize(
    ("solver", "options", "message"),
    [
        ({}, {"self_conditioning": True}, "self-conditioning has no likelihood by an ODE"),
        ({"t_max": 1.0}, {}, r"no likelihood by an ODE from t = 1 on, .* Set metrics\.ode\.t_max=0\.98"),
        ({"t_min": 1e-4}, {}, r"metrics\.ode needs 0\.001 .* not t_min=0\.0001 and t_max=0\.98"),
        ({"t_min": 0.99}, {}, r"t_min=0\.99 and t_max=0\.98"),
        ({"steps": 100, "t_min": 0.9799999999999999}, {}, r"use fewer metrics\.ode\.steps"),
    ],
)
def test_a_model_without_an_ode_is_refused(solver, options, message):
    denoiser = Denoiser(Zeros(), make("schedule", "flow"), Noise(), **options)
    with pytest.raises(ValueError, match=message):
        ODELikelihood(**solver).check(denoiser)


@pytest.mark.parametrize("option", ["steps", "dequantizations"])
@pytest.mark.parametrize("value", [0, None])
def test_an_option_out_of_range_is_refused(option, value):
    with pytest.raises(
        ValueError, match=rf"metrics\.ode\.{option} must be at least 1, not {'null' if value is None else 0}"
    ):
        ODELikelihood(**{option: value})


def test_the_description_has_what_a_null_stands_for():
    denoiser = Denoiser(Zeros(), make("schedule", "cosine"), Velocity())
    described = ODELikelihood(steps=7, dequantizations=3).describe(denoiser)
    expected = {"kind": "exact for dequantized images", "solver": "heun", "dequantization": "uniform", "steps": 7}
    assert described.items() >= {**expected, "dequantizations": 3, "t_min": 0.001, "t_max": 0.999, "nfe": 42}.items()


def test_evaluations_are_counted():
    calls = []

    class Counted(IsotropicDenoiser):
        def __call__(self, x_t, t, label=None, estimate=None) -> Prediction:
            calls.append(len(x_t))
            return super().__call__(x_t, t, label, estimate)

    denoiser, solver = Counted(make("schedule", "edm")), ODELikelihood(steps=4, dequantizations=2)
    solver.bits(denoiser, LabelledImages(torch.zeros(3, 1, 2, 2), torch.arange(3)), seed=0)
    assert len(calls) == solver.describe(denoiser)["nfe"] == 16 and set(calls) == {3}
