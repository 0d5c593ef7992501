import pytest
import torch
from diffusers import DDPMScheduler

from ddpm_lightning.diffusion.forward_process import noise_batch, posterior, q_sample
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule


@pytest.mark.parametrize(
    ("make", "name"), [(LinearSchedule, "linear"), (CosineSchedule, "squaredcos_cap_v2")], ids=["linear", "cosine"]
)
def test_q_sample_is_diffusers_add_noise_at_every_node(make, name, generator):
    schedule, oracle = make(), DDPMScheduler(1000, beta_schedule=name)
    x_0, eps = torch.randn(2, 1000, 1, 2, 2, generator=generator)
    ours = q_sample(x_0, eps, schedule.rates(torch.arange(1, 1001) / 1000))
    torch.testing.assert_close(ours, oracle.add_noise(x_0, eps, torch.arange(1000)), rtol=0, atol=1e-5)


def test_q_sample_gives_each_sample_its_own_rates(path):
    x_0, eps = torch.ones(2, 1, 2, 3), torch.full((2, 1, 2, 3), 2.0)
    t = torch.tensor([0.25, 0.75])
    x_t = q_sample(x_0, eps, path.rates(t))
    for i in range(2):
        alpha, sigma = path.rates(t[i].double())
        torch.testing.assert_close(x_t[i], torch.full((1, 2, 3), alpha.item() + 2 * sigma.item()))


def test_a_noised_batch_holds_its_inputs(path, generator):
    x_0, eps = torch.randn(2, 3, 1, 2, 2, generator=generator)
    t = torch.tensor([0.2, 0.5, 1.0])
    batch = noise_batch(path, x_0, eps, t)
    assert (batch.x_0 is x_0, batch.eps is eps, batch.t is t) == (True, True, True)
    assert torch.equal(batch.x_t, q_sample(x_0, eps, path.rates(t)))
    assert all(map(torch.equal, batch.rates, path.rates(t)))
    assert torch.equal(batch.log_snr, path.log_snr(t))


def test_one_step_is_the_published_posterior(schedule, nodes):
    """Ho et al. 2020, eq. 6 and 7, written out with beta_t, alpha_t and alpha_bar_t."""
    t, s = nodes[1:].double(), nodes[:-1].double()
    ours = posterior(schedule, t, s)
    alpha_bar, alpha_bar_before = schedule.log_alpha_bar(t).exp(), schedule.log_alpha_bar(s).exp()
    alpha = alpha_bar / alpha_bar_before
    beta = 1 - alpha
    tolerance = {"rtol": 1e-8, "atol": 1e-12}
    torch.testing.assert_close(ours.x_0_weight, alpha_bar_before.sqrt() * beta / (1 - alpha_bar), **tolerance)
    torch.testing.assert_close(ours.x_t_weight, alpha.sqrt() * (1 - alpha_bar_before) / (1 - alpha_bar), **tolerance)
    torch.testing.assert_close(ours.variance, (1 - alpha_bar_before) / (1 - alpha_bar) * beta, **tolerance)
    torch.testing.assert_close(ours.step_variance, beta, **tolerance)


@pytest.mark.parametrize(
    ("make", "name"), [(LinearSchedule, "linear"), (CosineSchedule, "squaredcos_cap_v2")], ids=["linear", "cosine"]
)
def test_the_variance_of_one_step_matches_diffusers(make, name):
    oracle = DDPMScheduler(1000, beta_schedule=name, variance_type="fixed_small")
    t = torch.arange(2, 1001) / 1000
    ours = posterior(make(), t, t - 1 / 1000).variance
    expected = torch.stack([oracle._get_variance(i) for i in range(1, 1000)])
    torch.testing.assert_close(ours, expected, rtol=2e-3, atol=0)


def pairs(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random times t and s with 0 < s < t <= 1, at any distance, on nodes and between them."""
    times = torch.rand(2, 500, generator=generator, dtype=torch.float64) * 0.999 + 0.001
    return times.max(0).values, times.min(0).values


def test_marginal_of_the_posterior_is_the_forward_process(schedule, generator):
    """Integrating q(x_s | x_t, x_0) over q(x_t | x_0) gives mean and variance of q(x_s | x_0)."""
    t, s = pairs(generator)
    at_t, at_s = schedule.rates(t), schedule.rates(s)
    q = posterior(schedule, t, s)
    torch.testing.assert_close(q.x_0_weight + q.x_t_weight * at_t.alpha, at_s.alpha, rtol=1e-9, atol=0)
    torch.testing.assert_close(q.x_t_weight**2 * at_t.sigma**2 + q.variance, at_s.sigma**2, rtol=1e-9, atol=0)


def test_the_posterior_is_a_distribution_over_less_noisy_images(schedule, generator):
    t, s = pairs(generator)
    variance = posterior(schedule, t, s).variance
    assert (variance > 0).all()
    assert (variance < schedule.rates(s).sigma ** 2).all()


def test_float32_posterior_has_float64_accuracy(schedule, nodes):
    """Variances near time 0 are differences of numbers near 1: computed in float32 they would lose four digits."""
    single = posterior(schedule, nodes[1:], nodes[:-1])
    double = posterior(schedule, nodes[1:].double(), nodes[:-1].double())
    for ours, accurate in zip(single, double, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, accurate.float(), rtol=1e-6, atol=0)
