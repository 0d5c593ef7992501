"""The variational bound: against the papers' formulas, and against distributions whose likelihood is known."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from choices import choices, make
from ddpm_lightning.diffusion.bound import VariationalBound, discretized_log_likelihood, normal_kl
from ddpm_lightning.diffusion.forward_process import q_sample
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.target import Prediction, x_0_from_eps
from samplers.gaussian import COVARIANCE, IMAGE_SHAPE, MEAN, ROOT, GaussianDenoiser

STEPS = 50
TIMES = torch.arange(STEPS + 1, dtype=torch.float64) / STEPS


@pytest.fixture
def images(generator) -> tuple[torch.Tensor, torch.Tensor]:
    """x_0 on the 256 levels, and eps; double precision."""
    levels = torch.randint(0, 256, (STEPS, 1, 4, 4), generator=generator)
    return levels.double() / 127.5 - 1, torch.randn(STEPS, 1, 4, 4, generator=generator, dtype=torch.float64)


def test_the_divergence_is_that_of_torch(generator):
    mean_1, mean_2, log_1, log_2 = torch.randn(4, 50, generator=generator, dtype=torch.float64)
    expected = kl_divergence(Normal(mean_1, (log_1 / 2).exp()), Normal(mean_2, (log_2 / 2).exp()))
    torch.testing.assert_close(normal_kl(mean_1, log_1, mean_2, log_2), expected)


@pytest.mark.parametrize("log_std", [-6.0, -3.0, 0.0])
def test_the_probabilities_of_all_levels_sum_to_one(log_std):
    levels = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    for mean in (-1.2, -0.3, 0.9):
        log_likelihood = discretized_log_likelihood(
            levels, torch.full_like(levels, mean), torch.tensor(log_std, dtype=torch.float64)
        )
        assert float(log_likelihood.exp().sum()) == pytest.approx(1, abs=1e-12)


def test_the_likelihood_is_finite_far_from_the_mean():
    x = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    far = discretized_log_likelihood(x, torch.tensor([1.0, 0.9, -1.0]).double(), torch.tensor(-5.0).double())
    density = Normal(torch.tensor(0.9).double(), math.exp(-5.0)).log_prob(torch.tensor(2 / 255 / 2).double())
    assert far.isfinite().all()
    # In the tail, the edge of the bin that is nearer to the mean has all of its probability.
    assert float(far[1]) == pytest.approx(float(density), rel=1e-2)


def test_the_terms_are_those_of_ho_et_al(images):
    """Eq. 12: L_{t-1} = beta^2 / (2 s^2 alpha (1 - alpha_bar)) |eps - eps_hat|^2, for s^2 = beta_tilde and beta."""
    x_0, eps = images
    schedule = LinearSchedule(STEPS)
    alpha_bar = schedule.rates(TIMES).alpha.square()
    beta = 1 - alpha_bar[1:] / alpha_bar[:-1]
    beta_tilde = beta * (1 - alpha_bar[:-1]) / (1 - alpha_bar[1:])
    bound = VariationalBound(schedule, TIMES)
    step = torch.arange(STEPS)
    rates = schedule.rates(TIMES[1:])
    x_t, eps_hat = q_sample(x_0, eps, rates), eps + 0.1 * x_0
    prediction = Prediction(x_0_from_eps(x_t, eps_hat, rates), eps_hat)
    squared = (eps - eps_hat).square().flatten(1).mean(1)
    for v, variance in ((0.0, beta_tilde), (1.0, beta)):
        factor = beta**2 / (2 * variance * (1 - beta) * (1 - alpha_bar[1:]))
        constant = 0.5 * (beta_tilde / variance - 1 - (beta_tilde / variance).log())
        expected = (factor * squared + constant) / math.log(2)
        torch.testing.assert_close(bound.term(step, prediction._replace(v=v), x_0, x_t)[1:], expected[1:])


def test_the_first_step_is_the_likelihood_of_a_level(images):
    """Eq. 13, written with distribution functions; the mean is the predicted image."""
    x_0, eps = images
    schedule = LinearSchedule(STEPS)
    alpha_bar = schedule.rates(TIMES).alpha.square()
    beta = 1 - alpha_bar[1:] / alpha_bar[:-1]
    rates, step = schedule.rates(TIMES[1:2].expand(STEPS)), torch.zeros(STEPS, dtype=torch.int64)
    x_t, predicted = q_sample(x_0, eps, rates), (x_0 + 0.01 * eps).clamp(-1, 1)
    for v, variance in ((0.0, beta[1] * (1 - alpha_bar[1]) / (1 - alpha_bar[2])), (1.0, beta[0])):
        normal = Normal(predicted, variance.sqrt())
        above = normal.cdf(x_0 + 1 / 255).where(x_0 < 1, 1.0)
        below = normal.cdf(x_0 - 1 / 255).where(x_0 > -1, 0.0)
        expected = -(above - below).log().flatten(1).mean(1) / math.log(2)
        ours = VariationalBound(schedule, TIMES).term(step, Prediction(predicted, eps, v), x_0, x_t)
        torch.testing.assert_close(ours, expected)


def test_the_range_of_images_may_be_another_for_each_channel(images):
    """Standardised images have the likelihood of others: that of their levels."""
    x_0, eps = (part.expand(-1, 2, -1, -1) for part in images)
    scale, shift = (torch.tensor(pair).reshape(2, 1, 1).double() for pair in ([2.0, 0.5], [0.3, -1.0]))
    log_std = torch.tensor(-4.0).double()
    plain = discretized_log_likelihood(x_0, x_0 + 0.01 * eps, log_std)
    wide = discretized_log_likelihood(
        scale * x_0 + shift, scale * (x_0 + 0.01 * eps) + shift, log_std + scale.log(), (shift - scale, shift + scale)
    )
    torch.testing.assert_close(wide, plain)


@pytest.mark.parametrize("steps", [2, 1000])
@pytest.mark.parametrize("name", [name for name in choices("schedule") if name != "linear_rates"])
def test_gradients_are_finite_in_single_precision(name, steps, generator):
    schedule = make("schedule", name)
    bound = VariationalBound(schedule, torch.arange(steps + 1, dtype=torch.float64) / steps)
    step = torch.arange(steps) if steps < 100 else torch.tensor([0, 1, 2, 10, 500, 998, 999])
    t = bound.times[step + 1]
    x_0 = (torch.randint(0, 256, (len(step), 1, 8, 8), generator=generator) / 127.5 - 1).float()
    x_t = q_sample(x_0, torch.randn(x_0.shape, generator=generator), schedule.rates(t.float()))
    for v in (-1.0, 0.5, 2.0):
        image = torch.randn(x_0.shape, generator=generator).requires_grad_()
        of_variance = torch.full_like(x_0, v).requires_grad_()
        terms = bound.term(step, Prediction(image, image, of_variance), x_0, x_t)
        assert terms.isfinite().all()
        gradients = torch.autograd.grad(terms.sum(), [image, of_variance])
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_step_without_noise_is_refused():
    with pytest.raises(ValueError, match="adds none from t = 0.001 to 0.002: take another schedule"):
        VariationalBound(make("schedule", "linear_rates"), torch.arange(1001) / 1000)


def test_the_prior_term_is_the_divergence_from_standard_noise(images):
    x_0, _ = images
    for name in ("linear", "edm"):
        schedule = make("schedule", name)
        alpha, sigma = schedule.rates(torch.ones(1, dtype=torch.float64))
        noise = Normal(0.0, float(schedule.rates(torch.ones(1, dtype=torch.float64)).std()))
        expected = kl_divergence(Normal(alpha * x_0, sigma * torch.ones_like(x_0)), noise).flatten(1).mean(1)
        torch.testing.assert_close(VariationalBound(schedule, TIMES).prior_term(x_0), expected / math.log(2))
        assert VariationalBound(schedule, TIMES).prior_term(x_0.float()).dtype == torch.float32


def test_the_bound_of_gaussian_data_is_close_to_their_likelihood(generator):
    """By the exact denoiser, and over many steps; never below the likelihood, up to the noise of the estimate."""
    count, schedule = 2000, make("schedule", "cosine")
    x_0 = (torch.randn(count, 4, generator=generator, dtype=torch.float64) @ ROOT.T + MEAN).reshape(-1, *IMAGE_SHAPE)
    value_range = (-8.0, 8.0)  # the outer bins hold next to nothing
    bin_width = 16 / 255
    x_0 = (x_0 / bin_width).round() * bin_width + bin_width / 2
    density = MultivariateNormal(MEAN, COVARIANCE).log_prob(x_0.flatten(1))
    expected = -(density / 4 + math.log(bin_width)).mean() / math.log(2)
    denoiser, gaps = GaussianDenoiser(schedule), []
    for steps in (50, 400):
        # Less noise than a bin is wide would only tell values within a bin apart.
        times = torch.cat([torch.zeros(1), torch.linspace(0.03, 1, steps)])
        bound = VariationalBound(schedule, times)
        total = bound.prior_term(x_0)
        for i in range(len(bound)):
            t = bound.times[i + 1].expand(count)
            x_t = q_sample(x_0, torch.randn(x_0.shape, generator=generator, dtype=torch.float64), schedule.rates(t))
            total += bound.term(
                torch.full((count,), i), denoiser(x_t, t)._replace(v=float(i == 0)), x_0, x_t, value_range
            )
        gaps.append(float(total.mean() - expected))
    assert -0.01 < gaps[1] < 0.3 * gaps[0]
    assert gaps[1] < 0.1


def test_times_that_do_not_start_at_zero_are_refused():
    with pytest.raises(ValueError, match="a bound's times must increase from 0 to at most 1"):
        VariationalBound(LinearSchedule(), torch.tensor([0.1, 0.5, 1.0]))
