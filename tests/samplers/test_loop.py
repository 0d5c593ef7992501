"""The sampling loop: its history, its count of predictions, its use of the sampling options."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor, nn

from choices import make
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.guidance import ClassifierFreeGuidance
from ddpm_lightning.diffusion.target import Prediction, Velocity
from ddpm_lightning.samplers.sampler import LoopState, Node, Sampler
from samplers.every_sampler import for_every_sampler
from samplers.gaussian import IMAGE_SHAPE, GaussianDenoiser


@dataclass(frozen=True)
class Rememberer(Sampler):
    """Euler's method that records the loop's history at each step."""

    seen: list[list[Node]] = field(default_factory=list)
    now: list[Node] = field(default_factory=list)
    name = "rememberer"
    look_back = 3

    def step(self, x_t: Tensor, t: float, s: float, prediction: Prediction, loop: LoopState) -> Tensor:
        assert loop.step == len(self.now)
        self.seen.append(list(loop.history))
        self.now.append(Node(t, prediction))
        alpha, sigma = loop.rates(s)
        return alpha * prediction.x_0 + sigma * prediction.eps


@pytest.fixture
def denoiser() -> GaussianDenoiser:
    return GaussianDenoiser(make("schedule", "cosine"))


def test_a_step_sees_the_nodes_before_it_latest_last(denoiser, generator):
    sampler, states = Rememberer(4, clip=False), []
    x = torch.randn(2, *IMAGE_SHAPE, generator=generator)
    sampler(denoiser, x, None, callback=states.append)
    assert [len(history) for history in sampler.seen] == [0, 1, 2, 3]
    assert [node.t for node in sampler.seen[3]] == [1.0, 0.75, 0.5]
    for number, history in enumerate(sampler.seen):
        for node, earlier in zip(history, sampler.now[:number], strict=True):
            assert node.t == earlier.t
            assert node.prediction is earlier.prediction
    assert all(now.prediction is state.prediction for now, state in zip(sampler.now, states, strict=True))


@for_every_sampler(steps=3)
def test_every_prediction_is_given_the_one_before(sampler, denoiser, generator):
    """For self-conditioning (Chen et al. 2022); clipped, as the sampler used it."""
    given, answers = [], []

    class Recording(GaussianDenoiser):
        def __call__(self, x_t, t, label=None, estimate=None):
            given.append(estimate)
            answers.append(super().__call__(x_t, t, label))
            return answers[-1]

    x = torch.randn(2, *IMAGE_SHAPE, generator=generator)
    sampler(Recording(denoiser.schedule), x, lambda _: torch.zeros_like(x), value_range=(-0.5, 0.5))
    assert given[0] is None
    assert len(given) >= 3
    for estimate, answer in zip(given[1:], answers[:-1], strict=True):
        assert torch.equal(estimate, answer.x_0.float().clamp(-0.5, 0.5))


@pytest.mark.parametrize("look_back", [0, 1, 2])
def test_the_history_is_as_long_as_look_back(look_back, denoiser, generator):
    sampler = type("Forgetful", (Rememberer,), {"look_back": look_back})(4, clip=False)
    sampler(denoiser, torch.randn(2, *IMAGE_SHAPE, generator=generator), None)
    assert [node.t for node in sampler.seen[3]] == [1.0, 0.75, 0.5][3 - look_back :]


def test_every_run_starts_with_an_empty_history(denoiser, generator):
    sampler = Rememberer(2, clip=False)
    x = torch.randn(2, *IMAGE_SHAPE, generator=generator)
    sampler(denoiser, x, None)
    sampler.now.clear()
    sampler(denoiser, x, None)
    assert [len(history) for history in sampler.seen] == [0, 1, 0, 1]


def test_the_history_holds_clipped_predictions(denoiser, generator):
    """As the steps see them, with the time that x was moved to if the sampler moves it first."""

    @dataclass(frozen=True)
    class Mover(Rememberer):
        def perturb(self, x_t: Tensor, t: float, loop: LoopState) -> tuple[Tensor, float]:
            return x_t, t / 2

    sampler = Mover(3)
    sampler(denoiser, torch.randn(2, *IMAGE_SHAPE, generator=generator), None, value_range=(-0.1, 0.1))
    assert [node.t for node in sampler.seen[2]] == pytest.approx([1 / 2, 1 / 3])
    assert all(node.prediction.x_0.abs().max() <= 0.1 for node in sampler.seen[2])


class Counter(nn.Module):
    """Counts the images that it is given."""

    conditioning, num_classes = "time", 3

    def __init__(self) -> None:
        super().__init__()
        self.images = 0

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor) -> Tensor:
        self.images += len(x)
        return x * noise_level[:, None, None, None] + label[:, None, None, None]


@for_every_sampler()
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("limits", [None, {}, {"level_min": 0.3, "level_max": 3.0}], ids=["none", "all", "interval"])
def test_evaluations_count_the_calls_of_the_network(sampler, steps, limits, generator):
    network = Counter()
    denoiser = plain = Denoiser(network, make("schedule", "cosine"), Velocity())
    if limits is not None:
        denoiser = ClassifierFreeGuidance(plain, 2.0, **limits)
    sampler = replace(sampler, steps=steps)
    x = torch.randn(4, *IMAGE_SHAPE, generator=generator)
    sampler(denoiser, x, lambda _: torch.zeros_like(x), label=torch.tensor([0, 1, 2, 0]))
    assert network.images == 4 * sampler.evaluations(denoiser)
    assert sampler.evaluations(plain) == (2 * steps - 1 if sampler.name == "heun" else steps)


@for_every_sampler(steps=5)
def test_guidance_doubles_the_evaluations_within_its_interval(sampler):
    denoiser = Denoiser(Counter(), make("schedule", "cosine"), Velocity())
    alone = sampler.evaluations(denoiser)
    assert sampler.evaluations(ClassifierFreeGuidance(denoiser)) == 2 * alone
    assert alone < sampler.evaluations(ClassifierFreeGuidance(denoiser, level_min=0.3, level_max=3.0)) < 2 * alone


@for_every_sampler(steps=3)
def test_an_estimate_stays_within_the_range_of_images_without_clipping(sampler, denoiser, generator):
    given = []

    class Recording(GaussianDenoiser):
        def __call__(self, x_t, t, label=None, estimate=None):
            given.append(estimate)
            return super().__call__(x_t, t, label)

    x = 3 * torch.randn(20, *IMAGE_SHAPE, generator=generator)
    replace(sampler, clip=False)(
        Recording(denoiser.schedule), x, lambda _: torch.zeros_like(x), value_range=(-0.5, 0.5)
    )
    assert max(float(estimate.abs().max()) for estimate in given[1:]) == 0.5
