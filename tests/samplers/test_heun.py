"""Heun's method against the published algorithms, written out in sigma and in t."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from choices import choices, make
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Prediction
from ddpm_lightning.samplers.heun import Heun
from ddpm_lightning.samplers.sampler import LoopState
from samplers.gaussian import IMAGE_SHAPE, GaussianDenoiser

STEPS = 18
Function = Callable[[Tensor, float], Tensor]


def image(x: Tensor, sigma: float) -> Tensor:
    """A nonlinear denoiser D(x; sigma)."""
    return (x / (1 + sigma)).tanh()


class Smooth(GaussianDenoiser):
    """Predicts `image` of x_t, as it is on a path where alpha is 1."""

    def __call__(
        self, x_t: Tensor, t: Tensor, label: Tensor | None = None, estimate: Tensor | None = None
    ) -> Prediction:
        alpha, sigma = self.schedule.rates(t[0].double())
        x_0 = image(x_t.double(), float(sigma))
        return Prediction(x_0, (x_t - alpha * x_0) / sigma)


def karras(
    denoise: Function,
    x: Tensor,
    sigmas: list[float],
    noise: Tensor,
    churn: float = 0.0,
    low: float = 0.0,
    high: float = math.inf,
    width: float = 1.0,
) -> Tensor:
    """Algorithm 2 of Karras et al. 2022; without churn it is algorithm 1. noise: (N, *x.shape)."""
    count = len(sigmas) - 1
    for i in range(count):
        gamma = min(churn / count, math.sqrt(2) - 1) if low <= sigmas[i] <= high else 0.0
        raised = sigmas[i] + gamma * sigmas[i]
        x_hat = x + math.sqrt(raised**2 - sigmas[i] ** 2) * width * noise[i]
        slope = (x_hat - denoise(x_hat, raised)) / raised
        x = x_hat + (sigmas[i + 1] - raised) * slope
        if sigmas[i + 1] != 0:
            after = (x - denoise(x, sigmas[i + 1])) / sigmas[i + 1]
            x = x_hat + (sigmas[i + 1] - raised) * (slope + after) / 2
    return x


def textbook(velocity: Function, x: Tensor, times: list[float]) -> Tensor:
    """Heun's method for dx/dt = velocity(x, t), with an Euler step to the last time."""
    for t, s in pairwise(times):
        slope = velocity(x, t)
        euler = x + (s - t) * slope
        x = euler if s == 0 else x + (s - t) / 2 * (slope + velocity(euler, s))
    return x


@pytest.fixture
def noise(generator: torch.Generator) -> Tensor:
    return torch.randn(STEPS, 3, *IMAGE_SHAPE, generator=generator, dtype=torch.float64)


CHURNS = {
    "none": {},
    "churn": {"churn": 3.0},
    "more than the limit": {"churn": 100.0},
    "limits": {"churn": 5.0, "churn_min": 0.05, "churn_max": 10.0},
    "width": {"churn": 5.0, "churn_noise": 1.007},
    "nowhere": {"churn": 5.0, "churn_min": 1000.0},
}


@pytest.mark.parametrize("options", CHURNS.values(), ids=CHURNS.keys())
@pytest.mark.parametrize("grid", ["karras", "uniform", "log_snr"])
def test_on_edms_path_it_is_karras_algorithm(options, grid, noise, generator):
    schedule = make("schedule", "edm")
    times = make("grid", grid)(schedule, STEPS, 0.9)  # low enough that churn stays below sigma_max
    sigmas = schedule.rates(torch.tensor(times, dtype=torch.float64)).sigma.tolist()
    start = sigmas[0] * torch.randn(3, *IMAGE_SHAPE, generator=generator, dtype=torch.float64)
    ours = Heun(STEPS, **options).loop(Smooth(schedule), start, times, noise.__getitem__, clip=None)
    words = {"churn": "churn", "churn_min": "low", "churn_max": "high", "churn_noise": "width"}
    expected = karras(image, start, sigmas, noise, **{words[name]: value for name, value in options.items()})
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=1e-4)
    assert (expected - karras(image, start, sigmas, noise)).abs().max() > 0.01 or options in (
        CHURNS["none"],
        CHURNS["nowhere"],
    )


@pytest.mark.parametrize("grid", choices("grid"))
def test_on_the_straight_path_it_is_the_textbooks(grid, generator):
    schedule = make("schedule", "flow")
    times = make("grid", grid)(schedule, STEPS, 1.0)
    start = torch.randn(3, *IMAGE_SHAPE, generator=generator, dtype=torch.float64)
    ours = Heun(STEPS).loop(Smooth(schedule), start, times, None, clip=None)

    def velocity(x: Tensor, t: float) -> Tensor:
        x_0 = image(x, t)
        return (x - (1 - t) * x_0) / t - x_0

    torch.testing.assert_close(ours.double(), textbook(velocity, start, times), rtol=0, atol=1e-5)


def perturbed(sampler: Heun, schedule: Schedule, t: float, x: float, noise: float) -> tuple[float, float]:
    """A pixel's value and its time after churn."""
    like = torch.full((1, 1, 1, 1), x, dtype=torch.float64)
    loop = LoopState(schedule, None, lambda _: torch.full_like(like, noise), like.device)
    moved, t_hat = sampler.perturb(like, t, loop)
    return float(moved), t_hat


@pytest.mark.parametrize("schedule", choices("schedule"))
@pytest.mark.parametrize("t", [0.7, 0.4, 0.2])
def test_churn_raises_the_noise_level_by_the_forward_process(schedule, t):
    """sigma / alpha by 1 + gamma, where x then is distributed as if it had been noised to that time at once."""
    schedule = make("schedule", schedule)
    sampler = Heun(10, churn=2.0)
    _, t_hat = perturbed(sampler, schedule, t, 0.0, 0.0)
    (alpha, sigma), (alpha_hat, sigma_hat) = (schedule.rates(torch.tensor(u, dtype=torch.float64)) for u in (t, t_hat))
    assert float((sigma_hat / alpha_hat) / (sigma / alpha)) == pytest.approx(1.2, rel=1e-6)
    shrunk = perturbed(sampler, schedule, t, 1.0, 0.0)[0]
    added = perturbed(sampler, schedule, t, 0.0, 1.0)[0]
    assert shrunk * float(alpha) == pytest.approx(float(alpha_hat), rel=1e-6)
    assert (shrunk * float(sigma)) ** 2 + added**2 == pytest.approx(float(sigma_hat) ** 2, rel=1e-6)
    wider = perturbed(replace(sampler, churn_noise=1.5), schedule, t, 0.0, 1.0)[0]
    assert wider == pytest.approx(1.5 * added)


@pytest.mark.parametrize("schedule", choices("schedule"))
def test_below_t_min_churn_raises_the_level_by_no_more(schedule):
    """Given times may lie there: noise for a level of 1 + gamma, or none, but not all the noise of t_min."""
    schedule = make("schedule", schedule)
    t = schedule.t_min / 2
    _, t_hat = perturbed(Heun(10, churn=0.1), schedule, t, 0.0, 0.0)
    before, after = (schedule.log_snr(torch.tensor(u, dtype=torch.float64)) for u in (t, t_hat))
    assert float(before - after) <= 2 * math.log(1.01) * (1 + 1e-6)


@pytest.mark.parametrize("schedule", choices("schedule"))
def test_churn_does_nothing_at_the_noisiest_end(schedule):
    assert perturbed(Heun(10, churn=2.0), make("schedule", schedule), 1.0, 0.3, 1.0) == (0.3, 1.0)


def test_churn_stops_at_the_noisiest_end():
    schedule = make("schedule", "edm")
    assert perturbed(Heun(10, churn=2.0), schedule, 0.99, 0.0, 0.0)[1] == 1.0
    added = perturbed(Heun(10, churn=2.0), schedule, 0.99, 0.0, 1.0)[0]
    sigma = float(schedule.rates(torch.tensor(0.99, dtype=torch.float64)).sigma)
    assert added == pytest.approx(math.sqrt(80**2 - sigma**2))


def test_churn_without_added_noise_only_shrinks_the_image():
    sampler, schedule = Heun(10, churn=2.0, churn_noise=0.0), make("schedule", "cosine")
    shrunk, _ = perturbed(sampler, schedule, 0.5, 1.0, noise=3.0)
    assert shrunk == perturbed(sampler, schedule, 0.5, 1.0, noise=-3.0)[0] < 1


def test_churn_may_be_limited_to_a_single_level():
    schedule = make("schedule", "flow")  # sigma / alpha is 1 at t = 0.5
    sampler = Heun(10, churn=2.0, churn_min=1.0, churn_max=1.0)
    raised = [t for t in (0.25, 0.5, 0.75) if perturbed(sampler, schedule, t, 0.0, 0.0)[1] > t]
    assert raised == [0.5]


@pytest.mark.parametrize(("options", "message"), [
    ({"churn": -0.1}, "sampler.churn and sampler.churn_noise must be at least 0, not -0.1 and 1.0"),
    ({"churn_noise": -1.0}, "sampler.churn and sampler.churn_noise must be at least 0, not 0.0 and -1.0"),
    ({"churn_min": -0.1}, "sampler.churn_min must be at least 0, not -0.1"),
    ({"churn_min": 2.0, "churn_max": 1.0}, "sampler.churn_max=1.0 must not be below sampler.churn_min=2.0"),
])  # fmt: skip
def test_churn_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Heun(3, **options)
