"""Importance sampling of times, against a sampler that records one loss at a time, and against closed forms."""

import pytest
import torch
from torch import Tensor

from ddpm_lightning.diffusion.importance import ImportanceTimesteps, LossHistory
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.schedules.flow import FlowSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.timesteps import DiscreteTimesteps

FLOW = FlowSchedule()
UNIFORM = torch.arange(2**18) / 2**18


class OneByOne:
    """The method as its authors describe it: lists of losses, of which the oldest falls out."""

    def __init__(self, num_steps: int, history: int, uniform_share: float) -> None:
        self.losses: list[list[float]] = [[] for _ in range(num_steps)]
        self.history, self.uniform_share = history, uniform_share

    def record(self, steps: list[int], losses: list[float]) -> None:
        for step, loss in zip(steps, losses, strict=True):
            self.losses[step] = [*self.losses[step], loss][-self.history :]

    def probabilities(self) -> list[float]:
        count = len(self.losses)
        if any(len(kept) < self.history for kept in self.losses):
            return [1 / count] * count
        roots = [(sum(loss**2 for loss in kept) / self.history) ** 0.5 for kept in self.losses]
        return [(1 - self.uniform_share) * root / sum(roots) + self.uniform_share / count for root in roots]


def informed(roots: list[float], history: int = 3, **options: float | bool) -> ImportanceTimesteps:
    """A distribution whose losses have these roots of their second moments."""
    timesteps = ImportanceTimesteps(num_steps=len(roots), history=history, **options)
    nodes = torch.arange(1, len(roots) + 1) / len(roots)
    for _ in range(history):
        timesteps.record(nodes, torch.tensor(roots))
    return timesteps


def drawn(timesteps: ImportanceTimesteps, uniform: Tensor = UNIFORM, schedule: Schedule = FLOW) -> Tensor:
    """The times that training draws at these numbers."""
    return timesteps.times(timesteps.proposal(uniform), schedule)


@pytest.mark.parametrize("history", [1, 2, 10])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_probabilities_are_those_of_recording_one_loss_after_another(history, batch_size, generator):
    """In batches that hold a node more often than it is remembered as well."""
    num_steps, share = 5, 0.01
    ours = ImportanceTimesteps(num_steps=num_steps, history=history, uniform_share=share)
    theirs = OneByOne(num_steps, history, share)
    warm = 0
    for _ in range(2 + 300 // batch_size):
        steps = (torch.rand(batch_size, generator=generator) ** 2 * num_steps).long()
        losses = torch.rand(batch_size, generator=generator) * (1 + steps)
        ours.record((steps + 1) / num_steps, losses)
        theirs.record(steps.tolist(), losses.tolist())
        expected = torch.tensor(theirs.probabilities(), dtype=torch.float64)
        torch.testing.assert_close(ours.probabilities(), expected, rtol=1e-12, atol=0)
        memory = zip(ours.memory.losses, ours.memory.counts, strict=True)
        kept = [sorted(losses[:count].tolist()) for losses, count in memory]
        assert kept == [sorted(row) for row in theirs.losses]
        warm += bool(ours.memory.is_full())
    assert warm > 1


def test_probabilities_follow_the_formula():
    """Roots of the second moments are 1, 5 and sqrt((1 + 49) / 2) = 5."""
    timesteps = ImportanceTimesteps(num_steps=3, history=2, uniform_share=0.1)
    nodes = torch.tensor([1, 2, 3, 3, 1, 2]) / 3
    timesteps.record(nodes, torch.tensor([1.0, 5.0, 7.0, -1.0, 1.0, 5.0]))
    expected = 0.9 * torch.tensor([1.0, 5.0, 5.0]) / 11 + 0.1 / 3
    torch.testing.assert_close(timesteps.probabilities(), expected.double())


def test_a_batch_in_two_parts_leaves_the_same_history(generator):
    steps, losses = torch.randint(0, 4, (40,), generator=generator), torch.rand(40, generator=generator)
    whole, parts = LossHistory(4, 3), LossHistory(4, 3)
    whole.record(steps, losses)
    for part in (slice(0, 17), slice(17, 40)):
        parts.record(steps[part], losses[part])
    assert torch.equal(whole.losses, parts.losses)
    assert torch.equal(whole.counts, parts.counts)


@pytest.mark.parametrize("num_steps", [1, 7, 1000])
def test_all_nodes_are_equally_likely_until_each_has_its_history(num_steps):
    timesteps = ImportanceTimesteps(num_steps=num_steps, history=2, stratified=False)
    nodes = torch.arange(1, num_steps + 1) / num_steps
    losses = torch.arange(1.0, num_steps + 1)
    for t in (nodes[:0], nodes, nodes[:-1]):
        timesteps.record(t, losses[: len(t)])
        assert torch.equal(drawn(timesteps), DiscreteTimesteps(num_steps=num_steps).times(UNIFORM, FLOW))
        assert (timesteps.weights(nodes) == 1).all()
    timesteps.record(nodes[-1:], losses[-1:])
    assert timesteps.memory.is_full()
    assert num_steps == 1 or (timesteps.weights(nodes) != 1).any()


@pytest.mark.parametrize("num_steps", [1, 8, 50])
def test_nodes_are_drawn_with_their_probabilities(num_steps):
    timesteps = informed([0.1 + i**2 for i in range(num_steps)], uniform_share=0.05)
    t = drawn(timesteps)
    nodes = (t * num_steps).round()
    assert torch.equal(t, nodes / num_steps)
    frequency = (nodes.long() - 1).bincount(minlength=num_steps) / len(t)
    torch.testing.assert_close(frequency.double(), timesteps.probabilities(), rtol=0, atol=2 / len(t))


def test_the_weighted_mean_is_that_over_equally_likely_nodes():
    """Over all uniform numbers, whatever is averaged, at the losses' nodes or not."""
    timesteps = informed([8.0, 4.0, 2.0, 1.0, 0.5, 0.0, 3.0, 1.0], uniform_share=0.01)
    t = drawn(timesteps)
    nodes = torch.arange(1, 9) / 8
    for f in (torch.ones_like, torch.square, torch.cos, lambda t: (8 * t).round() % 3):
        weighted = (timesteps.weights(t) * f(t)).double().mean()
        torch.testing.assert_close(weighted, f(nodes).double().mean(), rtol=0, atol=1e-3)
    assert (t.square().mean() - nodes.square().mean()).abs() > 0.1


def test_gradients_vary_as_little_as_the_method_promises(generator):
    """Losses a_i (x - z)^2 with z normal, at x = 0: the second moment of the loss is 3 a_i^2, of the gradient 4 a_i^2.

    So that of the estimated gradient is 4 mean(a^2) with equally likely nodes, and 4 mean(a)^2 with this sampling.
    """
    a = torch.tensor([16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.125])
    timesteps = informed((a * 3**0.5).tolist(), uniform_share=1e-6)
    z = torch.randn(UNIFORM.shape, generator=generator)[torch.randperm(len(UNIFORM), generator=generator)]

    def gradient_moments(t: Tensor, weights: Tensor) -> tuple[float, float]:
        gradients = weights * -2 * a[(8 * t).round().long() - 1] * z
        return float(gradients.mean()), float(gradients.square().mean())

    t = drawn(timesteps)
    mean, moment = gradient_moments(t, timesteps.weights(t))
    nodes = DiscreteTimesteps(num_steps=8).times(UNIFORM, FLOW)
    _, moment_of_equal = gradient_moments(nodes, torch.ones_like(nodes))
    assert mean == pytest.approx(0, abs=0.1)
    assert moment == pytest.approx(float(4 * a.mean() ** 2), rel=0.02)
    assert moment_of_equal == pytest.approx(float(4 * a.square().mean()), rel=0.02)
    assert moment < moment_of_equal / 2


def test_a_weight_is_at_most_the_inverse_of_the_uniform_share():
    timesteps = informed([1e6, 1e-12, 0.0], uniform_share=0.01)
    weights = timesteps.weights(torch.tensor([1, 2, 3]) / 3)
    torch.testing.assert_close(weights, torch.tensor([1 / (3 * (0.99 + 0.01 / 3)), 100.0, 100.0]))


def test_stratified_batches_have_each_node_as_often_as_expected_to_within_one():
    timesteps = informed([8.0, 4.0, 2.0, 1.0, 0.5, 0.25], uniform_share=0.01)
    slots, expected = torch.arange(64), 64 * timesteps.probabilities()
    for offset in torch.arange(0, 1, 0.037):
        t = timesteps(FLOW, torch.full((64,), torch.nan), offset, slots, 64)
        counts = ((6 * t).round().long() - 1).bincount(minlength=6)
        assert (counts - expected).abs().max() < 1 + 1e-4


def test_what_is_averaged_does_not_depend_on_the_history():
    """Validation measures at these times, without weights."""
    timesteps = informed([8.0, 4.0, 2.0, 1.0])
    assert torch.equal(timesteps.times(UNIFORM, FLOW), DiscreteTimesteps(num_steps=4).times(UNIFORM, FLOW))
    assert not torch.equal(drawn(timesteps), timesteps.times(UNIFORM, FLOW))


def test_an_infinite_loss_does_not_pass_unnoticed():
    timesteps = informed([1.0, 2.0, float("inf")])
    t = drawn(timesteps)
    assert (t <= 1).all() and t.isfinite().all()
    assert timesteps.weights(t).isnan().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "timesteps.num_steps must be at least 1, not 0"),
        ({"num_steps": 10_001}, "timesteps.num_steps must be at most 10000, not 10001"),
        ({"history": 0}, "timesteps.history must be from 1 to 1000, not 0"),
        ({"history": 1001}, "timesteps.history must be from 1 to 1000, not 1001"),
        ({"uniform_share": 0.0}, "timesteps.uniform_share must be above 0 and at most 1, not 0.0"),
        ({"uniform_share": 1.1}, "timesteps.uniform_share must be above 0 and at most 1, not 1.1"),
        ({"uniform_share": float("nan")}, "timesteps.uniform_share must be above 0 and at most 1, not nan"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ImportanceTimesteps(**options)


@pytest.mark.parametrize("num_steps", [1, 3, 49, 1000, 4000])
def test_steps_that_a_schedule_never_draws_would_never_have_a_history(num_steps):
    timesteps, schedule = ImportanceTimesteps(num_steps=num_steps), LinearSchedule(num_steps, scale_betas=False)
    timesteps.check(schedule)
    with pytest.raises(ValueError, match=f"set timesteps.num_steps to at most {num_steps}$"):
        ImportanceTimesteps(num_steps=num_steps + 1).check(schedule)
