import pytest
import torch
from diffusers import DDPMScheduler

from ddpm_lightning.diffusion.forward_process import posterior, q_sample
from ddpm_lightning.diffusion.schedule import CosineSchedule, LinearSchedule


@pytest.mark.parametrize(
    ("make", "name"), [(LinearSchedule, "linear"), (CosineSchedule, "squaredcos_cap_v2")], ids=["linear", "cosine"]
)
def test_q_sample_is_diffusers_add_noise_at_every_node(make, name, generator):
    schedule, oracle = make(), DDPMScheduler(1000, beta_schedule=name)
    x_0, noise = torch.randn(2, 1000, 1, 2, 2, generator=generator)
    ours = q_sample(x_0, noise, schedule.rates(torch.arange(1, 1001) / 1000))
    torch.testing.assert_close(ours, oracle.add_noise(x_0, noise, torch.arange(1000)), rtol=0, atol=1e-5)


def test_q_sample_by_hand_gives_each_sample_its_own_rates(schedule):
    x_0, noise = torch.ones(2, 1, 2, 3), torch.full((2, 1, 2, 3), 2.0)
    t = torch.tensor([0.25, 0.75])
    x_t = q_sample(x_0, noise, schedule.rates(t))
    for i in range(2):
        alpha_bar = schedule.alpha_bar(t[i].double()).item()
        expected = alpha_bar**0.5 + 2 * (1 - alpha_bar) ** 0.5
        torch.testing.assert_close(x_t[i], torch.full((1, 2, 3), expected))


def test_one_step_is_the_published_posterior(schedule, nodes):
    """Ho et al. 2020, eq. 6 and 7, written out with beta_t, alpha_t and alpha_bar_t."""
    t = nodes[1:].double()
    ours = posterior(schedule, t, nodes[:-1].double())
    alpha_bar, alpha_bar_before = schedule.alpha_bar(t), schedule.alpha_bar(nodes[:-1].double())
    alpha = alpha_bar / alpha_bar_before
    beta = 1 - alpha
    tolerance = {"rtol": 1e-8, "atol": 1e-12}
    torch.testing.assert_close(ours.image_weight, alpha_bar_before.sqrt() * beta / (1 - alpha_bar), **tolerance)
    torch.testing.assert_close(ours.noisy_weight, alpha.sqrt() * (1 - alpha_bar_before) / (1 - alpha_bar), **tolerance)
    torch.testing.assert_close(ours.variance, (1 - alpha_bar_before) / (1 - alpha_bar) * beta, **tolerance)


def pairs(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random times t and s of any distance with 0 < s < t <= 1, on nodes and between them."""
    times = torch.rand(2, 500, generator=generator, dtype=torch.float64) * 0.999 + 0.001
    return times.max(0).values, times.min(0).values


def test_marginal_of_the_posterior_is_the_forward_process(schedule, generator):
    """Integrating q(x_s | x_t, x_0) over q(x_t | x_0) gives mean and variance of q(x_s | x_0)."""
    t, s = pairs(generator)
    at_t, at_s = schedule.rates(t), schedule.rates(s)
    q = posterior(schedule, t, s)
    torch.testing.assert_close(q.image_weight + q.noisy_weight * at_t.signal, at_s.signal, rtol=1e-9, atol=0)
    torch.testing.assert_close(q.noisy_weight**2 * at_t.noise**2 + q.variance, at_s.noise**2, rtol=1e-9, atol=0)


def test_the_posterior_is_a_distribution_over_less_noisy_images(schedule, generator):
    t, s = pairs(generator)
    variance = posterior(schedule, t, s).variance
    assert (variance > 0).all()
    assert (variance < schedule.noise_variance(s)).all()


def test_going_to_time_zero_gives_the_image_exactly(schedule):
    q = posterior(schedule, torch.tensor([0.001, 0.3, 1.0]), torch.zeros(3))
    assert torch.equal(q.image_weight, torch.ones(3))
    assert torch.equal(q.noisy_weight.abs(), torch.zeros(3))
    assert torch.equal(q.variance.abs(), torch.zeros(3))


def test_float32_posterior_has_float64_accuracy(schedule, nodes):
    """Variances next to time 0 are differences of numbers near 1: worked out in float32 they lose four digits."""
    single = posterior(schedule, nodes[1:], nodes[:-1])
    double = posterior(schedule, nodes[1:].double(), nodes[:-1].double())
    for ours, accurate in zip(single, double, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, accurate.float(), rtol=1e-6, atol=0)
