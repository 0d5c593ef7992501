import pytest
import torch

from ddpm_lightning.diffusion.randomness import Purpose, keyed_uniform
from ddpm_lightning.diffusion.timesteps import Stratified, TimestepLaw, UniformContinuous, UniformDiscrete

LAWS = [UniformDiscrete, UniformContinuous, Stratified]
LARGEST_UNIFORM = 1 - 2.0**-24


def times(law: TimestepLaw, batch_size: int, slots: torch.Tensor | None = None, step: int = 0) -> torch.Tensor:
    slots = torch.arange(batch_size) if slots is None else slots
    own = keyed_uniform(0, Purpose.TIME, slots, step=step)
    shared = keyed_uniform(0, Purpose.SHARED_TIME, torch.zeros(1, dtype=torch.long), step=step)[0]
    return law(own, shared, slots, batch_size)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("num_steps", [1, 2, 7, 1000])
@pytest.mark.parametrize("uniform", [0.0, 0.5, LARGEST_UNIFORM])
def test_times_stay_between_the_first_node_and_one(law, num_steps, uniform):
    slots = torch.arange(5)
    t = law(num_steps)(torch.full((5,), uniform), torch.tensor(uniform), slots, 5)
    assert t.shape == (5,)
    assert t.dtype == torch.float32
    assert (t >= torch.tensor(1 / num_steps)).all()
    assert (t <= 1).all()


def test_discrete_times_are_nodes_all_equally_likely():
    num_steps, count = 20, 40_000
    t = times(UniformDiscrete(num_steps), count)
    nodes = (t * num_steps).round()
    torch.testing.assert_close(t, nodes / num_steps, rtol=0, atol=0)
    observed = nodes.long().bincount(minlength=num_steps + 1)
    assert observed[0] == 0
    chi_square = ((observed[1:] - count / num_steps) ** 2 / (count / num_steps)).sum().item()
    assert chi_square < 43.8  # the 0.999 quantile with 19 degrees of freedom


@pytest.mark.parametrize("law", LAWS)
def test_over_many_batches_every_time_is_equally_likely(law):
    """The Kolmogorov-Smirnov distance to the uniform law on [1/T, 1], pooled and for one slot of the batch alone."""
    num_steps, batch_size, batches = 1000, 16, 2000
    t = torch.stack([times(law(num_steps), batch_size, step=step) for step in range(batches)])
    for sample in (t.flatten(), t[:, 3]):
        expected = (torch.arange(len(sample)) + 0.5) / len(sample)
        observed = (sample.sort().values - 1 / num_steps) / (1 - 1 / num_steps)
        assert (observed - expected).abs().max() < 1.95 / len(sample) ** 0.5 + 1 / num_steps  # the 0.999 quantile


@pytest.mark.parametrize("batch_size", [1, 2, 32, 37])
@pytest.mark.parametrize("step", range(5))
def test_stratified_puts_one_time_in_each_stratum(batch_size, step):
    t = times(Stratified(1000), batch_size, step=step)
    position = (t.double() - 1 / 1000) / (1 - 1 / 1000)
    offset = position.min()  # strata start at the smallest time: they are of equal width, and wrap round
    strata = ((position - offset) * batch_size).round()
    assert torch.equal(strata.sort().values, torch.arange(batch_size, dtype=torch.float64))
    assert offset < 1 / batch_size


def test_stratified_batches_differ():
    first, second = (times(Stratified(1000), 8, step=step) for step in (0, 1))
    assert (first.sort().values - second.sort().values).abs().min() > 1e-4


@pytest.mark.parametrize("law", LAWS)
def test_a_batch_split_over_two_devices_has_the_times_of_the_whole(law):
    whole = times(law(1000), 10)
    halves = [times(law(1000), 10, slots) for slots in torch.arange(10).split(5)]
    assert torch.equal(torch.cat(halves), whole)
    assert len(whole.unique()) > 5
