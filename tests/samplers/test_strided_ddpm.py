"""StridedDDPM against its formula, and how it differs from the methods that it resembles."""

import pytest
import torch

from choices import make
from ddpm_lightning.samplers.strided_ddpm import StridedDDPM
from samplers.gaussian import COVARIANCE, IMAGE_SHAPE, GaussianDenoiser, marginal, sampled_moments

COSINE = make("schedule", "cosine", "schedule.num_steps=500")


def one_step(schedule, eta: float, t: float, s: float, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """x_s, the state before the last step."""
    states = []
    StridedDDPM(2, eta=eta).loop(GaussianDenoiser(schedule), x, [t, s, 0.0], lambda _: z, None, None, states.append)
    return states[1].x_t


@pytest.mark.parametrize("eta", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("t", "s"), [(1.0, 34 / 35), (1.0, 0.99), (0.5, 0.4), (2 / 35, 1 / 35)])
def test_a_step_follows_its_formula(generator, eta, t, s):
    x, z = torch.randn(2, 3, *IMAGE_SHAPE, generator=generator, dtype=torch.float64)
    bar_t, bar_s = (COSINE.rates(torch.tensor(u, dtype=torch.float64)).alpha ** 2 for u in (t, s))
    beta = min((1 - bar_t / bar_s) * (1 - bar_s) / (1 - bar_t), torch.tensor(0.999))
    eps = GaussianDenoiser(COSINE)(x, torch.full((3,), t, dtype=torch.float64)).eps
    expected = (x - beta * eps / (1 - bar_t).sqrt()) / (1 - beta).sqrt() + (eta * beta).sqrt() * z
    torch.testing.assert_close(one_step(COSINE, eta, t, s, x, z), expected, rtol=1e-5, atol=1e-5)


def test_the_last_step_returns_the_predicted_image(generator):
    x = torch.randn(3, *IMAGE_SHAPE, generator=generator)
    states = []
    ours = StridedDDPM(1).loop(GaussianDenoiser(COSINE), x, [0.1, 0.0], lambda _: x, None, None, states.append)
    torch.testing.assert_close(ours, states[0].prediction.x_0)


def test_on_another_path_it_steps_at_unit_variance(generator):
    """The straight path at the same log SNRs, scaled by 1 / sqrt(alpha^2 + sigma^2), is the cosine path."""
    flow = make("schedule", "flow")
    x, z = torch.randn(2, 3, *IMAGE_SHAPE, generator=generator, dtype=torch.float64)
    times = torch.tensor([0.6, 0.3], dtype=torch.float64)
    t, s = flow.time_of_log_snr(COSINE.log_snr(times)).tolist()
    std_t, std_s = flow.rates(torch.tensor([t, s], dtype=torch.float64)).std()
    ours = one_step(flow, 0.1, t, s, std_t * x, z) / std_s
    torch.testing.assert_close(ours, one_step(COSINE, 0.1, 0.6, 0.3, x, z), rtol=1e-5, atol=1e-5)


def test_with_little_noise_samples_vary_too_little():
    covariance = {
        eta: sampled_moments(StridedDDPM(200, clip=False, eta=eta), COSINE, lambda z: marginal(COSINE, 1.0, z))[1]
        for eta in (0.0, 0.1, 1.0)
    }
    variances = [covariance[eta].trace() for eta in (0.0, 0.1, 1.0)]
    assert variances[0] < variances[1] < 0.8 * COVARIANCE.trace()
    assert variances[2] == pytest.approx(float(COVARIANCE.trace()), rel=0.05)


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_eta_outside_its_range_is_refused(eta):
    with pytest.raises(ValueError, match=r"sampler.eta must lie in \[0, 1\]"):
        StridedDDPM(3, eta=eta)
