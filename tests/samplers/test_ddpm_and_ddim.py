"""The options of DDPM and DDIM: variance and eta."""

import pytest
import torch

from choices import choices, make
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.target import Noise
from ddpm_lightning.diffusion.variance import LearnedRange
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.ddpm import DDPM
from samplers.gaussian import IMAGE_SHAPE, GaussianDenoiser, marginal, sampled_moments

every_schedule = pytest.mark.parametrize("schedule", choices("schedule"))


@pytest.mark.parametrize("eta", [-0.1, 1.1])
def test_eta_outside_its_range_is_refused(eta):
    with pytest.raises(ValueError, match=r"sampler.eta must lie in \[0, 1\]"):
        DDIM(3, eta=eta)


@pytest.mark.parametrize("variance", [-0.1, 1.1, float("nan"), True, None, "medium", "0.5"])
def test_an_unknown_variance_is_refused(variance):
    with pytest.raises(ValueError, match=r"variance must be small, large, a number from 0 .* to 1 .* or learned, not"):
        DDPM(3, variance=variance)


def deviation(sampler: DDPM, schedule, t: float, s: float) -> float:
    """Displacement of x by unit noise in the step from t to s."""
    x, ends = torch.full((1, *IMAGE_SHAPE), 0.3, dtype=torch.float64), []
    for amount in (0.0, 1.0):
        states = []
        sampler.loop(
            GaussianDenoiser(schedule),
            x,
            [t, s, 0.0],
            lambda _, amount=amount: torch.full_like(x, amount),
            clip=None,
            callback=states.append,
        )
        ends.append(states[1].x_t)
    return float((ends[1] - ends[0]).mean())


@every_schedule
@pytest.mark.parametrize(("t", "s"), [(0.8, 0.75), (0.6, 0.1)])
def test_the_variances_are_those_of_the_papers(schedule, t, s):
    """Small is beta-tilde of Ho et al. 2020, eq. 7; large is beta; v interpolates the logarithms."""
    schedule = make("schedule", schedule)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (schedule.rates(torch.tensor(u, dtype=torch.float64)) for u in (t, s))
    beta = float(sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2)
    beta_tilde = beta * float(sigma_s**2 / sigma_t**2)
    # the numbers 0 and 1 equal the words
    for variance, expected in (("small", beta_tilde), ("large", beta), (0, beta_tilde), (1.0, beta)):
        assert deviation(DDPM(3, variance=variance), schedule, t, s) ** 2 == pytest.approx(expected, rel=1e-6)
    for v in (0.2, 0.5):
        between = beta**v * beta_tilde ** (1 - v)
        assert deviation(DDPM(3, variance=v), schedule, t, s) ** 2 == pytest.approx(between, rel=1e-6)


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [(schedule, steps) for schedule in choices("schedule") for steps in (3, 50)] + [("linear", 1000), ("cosine", 1000)],
)
def test_ddim_with_eta_one_is_ddpm(schedule, steps, generator):
    """Song et al. 2021, section 4.1: the same Gaussian at every step, so the same path for the same noise."""
    start = torch.randn(8, *IMAGE_SHAPE, generator=generator)
    noise = torch.randn(steps, *start.shape, generator=generator)
    denoiser = GaussianDenoiser(make("schedule", schedule))
    paths: list[list[torch.Tensor]] = [[], []]
    for sampler, path in zip((DDIM(steps, clip=False, eta=1.0), DDPM(steps, clip=False)), paths, strict=True):
        sampler(denoiser, start, noise.__getitem__, callback=lambda state, path=path: path.append(state.x_t))
    torch.testing.assert_close(torch.stack(paths[0]), torch.stack(paths[1]), rtol=1e-5, atol=1e-4)


def test_ddim_with_eta_one_over_all_nodes_has_ddpms_moments():
    schedule = make("schedule", "cosine", "schedule.num_steps=100")
    moments = [
        sampled_moments(sampler, schedule, lambda z: marginal(schedule, 1.0, z))
        for sampler in (DDIM(100, clip=False, eta=1.0), DDPM(100, clip=False))
    ]
    for one, other in zip(*moments, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_a_learned_variance_needs_a_model_that_learns_it():
    schedule, sampler = CosineSchedule(), DDPM(3, variance="learned")
    network = torch.nn.Identity()
    network.conditioning, network.num_classes = "time", None
    with pytest.raises(ValueError, match=r"needs a model that learns it: train with variance=learned_range"):
        sampler.times(Denoiser(network, schedule, Noise()))
    assert len(sampler.times(Denoiser(network, schedule, Noise(), variance=LearnedRange()))) == 4
