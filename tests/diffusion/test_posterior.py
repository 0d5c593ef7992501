"""q(x_s | x_t, x_0) on every path, by conditioning the joint Gaussian of x_s and x_t given x_0."""

import math

import pytest
import torch
from torch import Tensor

from ddpm_lightning.diffusion.forward_process import Posterior, posterior, q_sample
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.schedules.discrete import DiscreteSchedule
from ddpm_lightning.diffusion.schedules.flow import FlowSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule


def conditioned(schedule: Schedule, t: Tensor, s: Tensor) -> Posterior:
    """x_s = alpha_s x_0 + sigma_s e and x_t = alpha_ts x_s + sigma_ts z, with e and z standard normal; t, s: (B,)."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.rates(t), schedule.rates(s)
    alpha_ts = alpha_t / alpha_s
    step_variance = sigma_t**2 - alpha_ts**2 * sigma_s**2
    of_e_and_z = torch.zeros(len(t), 2, 2, dtype=t.dtype)  # rows x_s and x_t
    of_e_and_z[:, 0, 0], of_e_and_z[:, 1, 0] = sigma_s, alpha_ts * sigma_s
    of_e_and_z[:, 1, 1] = step_variance.clamp(min=0).sqrt()
    covariance = of_e_and_z @ of_e_and_z.mT
    x_t_weight = torch.linalg.solve(covariance[:, 1:, 1:], covariance[:, 1:, :1])[:, 0, 0]
    variance = covariance[:, 0, 0] - x_t_weight * covariance[:, 0, 1]
    return Posterior(alpha_s - x_t_weight * alpha_t, x_t_weight, variance, step_variance)


def pairs(schedule: Schedule) -> tuple[Tensor, Tensor]:
    """All s < t of 40 times from t_min to 1, close together at both ends."""
    bent = (torch.linspace(-1, 1, 40, dtype=torch.float64) * math.pi / 2).sin()
    times = schedule.t_min + (1 + bent) / 2 * (1 - schedule.t_min)
    later, earlier = torch.meshgrid(times, times, indexing="ij")
    return later[later > earlier], earlier[later > earlier]


def test_the_posterior_is_the_conditional_gaussian(path):
    t, s = pairs(path)
    for ours, expected in zip(posterior(path, t, s), conditioned(path, t, s), strict=True):
        scale = expected.abs().max().item()
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12 * max(scale, 1))


def test_the_posterior_over_any_step_keeps_the_marginals(path):
    """The mean and variance of x_s follow from those of x_t, on plateaus and from pure noise too."""
    t, s = pairs(path)
    at_t, at_s, q = path.rates(t), path.rates(s), posterior(path, t, s)
    assert (q.variance >= 0).all()
    assert (q.step_variance >= 0).all()
    torch.testing.assert_close(q.x_0_weight + q.x_t_weight * at_t.alpha, at_s.alpha, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(q.x_t_weight**2 * at_t.sigma**2 + q.variance, at_s.sigma**2, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("t", "s"), [(1.0, 0.5), (0.9, 0.3), (0.5, 0.1), (0.35, 0.3)])
def test_sampled_images_have_the_moments_of_the_marginal(path, t, s, generator):
    """x_s drawn given x_t, drawn given x_0; bounds of five standard errors."""
    t, s, count = torch.tensor([t]), torch.tensor([s]), 50_000
    eps, z = torch.randn(2, 1, count, generator=generator)
    x_0 = torch.full((1, count), 0.7)
    x_t = q_sample(x_0, eps, path.rates(t))
    q, (alpha, sigma) = posterior(path, t, s), path.rates(s)
    x_s = q.x_0_weight * x_0 + q.x_t_weight * x_t + q.variance.sqrt() * z
    assert abs(x_s.mean() - 0.7 * alpha) < 5 * sigma / count**0.5
    assert abs(x_s.std() / sigma - 1) < 5 / (2 * count) ** 0.5
    alpha_ts = path.rates(t).alpha / alpha
    covariance = torch.cov(torch.cat([x_s, x_t]))[0, 1]
    assert abs(covariance - alpha_ts * sigma**2) < 5 * sigma * path.rates(t).sigma * (2 / count) ** 0.5


def test_a_step_to_time_zero_gives_the_image_exactly(path):
    t = torch.tensor([path.t_min, 0.3, 1.0])
    q = posterior(path, t, torch.zeros(3))
    assert torch.equal(q.x_0_weight, torch.ones(3))
    assert torch.equal(q.x_t_weight.abs(), torch.zeros(3))
    assert torch.equal(q.variance.abs(), torch.zeros(3))
    torch.testing.assert_close(q.step_variance, path.rates(t).sigma ** 2)


def test_the_posterior_given_pure_noise_is_the_marginal():
    """Where x_t says nothing about x_0, q(x_s | x_t, x_0) is q(x_s | x_0)."""
    s = torch.tensor([0.0, 0.001, 0.5, 0.999, 0.9999], dtype=torch.float64)
    for schedule in (FlowSchedule(), LinearSchedule(zero_terminal_snr=True)):
        q, (alpha, sigma) = posterior(schedule, torch.ones_like(s), s), schedule.rates(s)
        torch.testing.assert_close(q.x_0_weight, alpha)
        assert (q.x_t_weight == 0).all()
        torch.testing.assert_close(q.variance, sigma**2)
        torch.testing.assert_close(q.step_variance, torch.ones_like(s))


def test_a_step_on_a_plateau_changes_nothing():
    schedule = DiscreteSchedule(torch.tensor([0.1, 0.2, 0.0, 0.0, 0.3], dtype=torch.float64))
    q = posterior(schedule, torch.tensor([0.8, 0.7, 0.75]), torch.tensor([0.4, 0.6, 0.45]))
    assert torch.equal(q.x_0_weight.abs(), torch.zeros(3))
    assert torch.equal(q.x_t_weight, torch.ones(3))
    assert torch.equal(q.variance.abs(), torch.zeros(3))
    assert torch.equal(q.step_variance.abs(), torch.zeros(3))


def test_the_posterior_by_hand_on_the_straight_path():
    """alpha_t = 1/4, sigma_t = 3/4; alpha_s = sigma_s = 1/2: alpha_ts = 1/2 and sigma_ts^2 = 9/16 - 1/16."""
    q = posterior(FlowSchedule(), torch.tensor([0.75]), torch.tensor([0.5]))
    assert [part.item() for part in q] == pytest.approx([4 / 9, 2 / 9, 2 / 9, 1 / 2])


@pytest.mark.parametrize("shape", [(), (1,), (6,), (6, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_posterior_has_the_shape_and_dtype_of_t(path, shape, dtype):
    t = torch.linspace(0.5, 1, math.prod(shape), dtype=dtype)
    expected = posterior(path, t.double(), t.double() / 2)
    for ours, accurate in zip(posterior(path, t.reshape(shape), t.reshape(shape) / 2), expected, strict=True):
        assert ours.shape == shape
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.flatten(), accurate.to(dtype), rtol=1e-6, atol=0)
