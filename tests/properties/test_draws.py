"""Ranks draw for their slots what one process draws for all of them."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ddpm_lightning.data.order import rank_slice
from ddpm_lightning.diffusion.randomness import Purpose
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.timesteps import TimestepDistribution
from ddpm_lightning.training.draws import StepDraws
from properties.strategies import SEEDS, chosen, image_shapes, schedules

STEPS, PURPOSES = st.integers(0, 2**31), st.sampled_from(Purpose)
KEYS = st.tuples(SEEDS, STEPS, st.integers(0, 64))


@st.composite
def shares(draw: st.DrawFn) -> list[Tensor]:
    """The slots of each rank."""
    world_size = draw(st.integers(1, 8))
    batch_size = world_size * draw(st.integers(1, 6))
    return [torch.arange(batch_size)[rank_slice(batch_size, rank, world_size)] for rank in range(world_size)]


@given(KEYS, shares(), PURPOSES, image_shapes())
def test_any_number_of_ranks_draws_the_same(
    key: tuple[int, int, int], slots: list[Tensor], purpose: Purpose, shape: tuple[int, int, int]
):
    whole, ranks = StepDraws(*key, torch.cat(slots)), [StepDraws(*key, share) for share in slots]
    assert torch.equal(torch.cat([rank.uniform(purpose) for rank in ranks]), whole.uniform(purpose))
    assert {float(rank.shared_uniform(purpose)) for rank in ranks} == {float(whole.shared_uniform(purpose))}
    noise = torch.cat([rank.normal(purpose, shape) for rank in ranks])
    torch.testing.assert_close(noise, whole.normal(purpose, shape), rtol=0, atol=1e-6)


@given(KEYS, shares(), chosen("timesteps"), schedules())
def test_any_number_of_ranks_trains_at_the_same_times(
    key: tuple[int, int, int], slots: list[Tensor], timesteps: TimestepDistribution, schedule: Schedule
):
    batch_size = sum(map(len, slots))

    def times(share: Tensor) -> Tensor:
        draws = StepDraws(*key, share)
        uniform, offset = draws.uniform(Purpose.TIME), draws.shared_uniform(Purpose.SHARED_TIME)
        return timesteps(schedule, uniform, offset, share, batch_size)

    torch.testing.assert_close(torch.cat([times(share) for share in slots]), times(torch.cat(slots)), rtol=0, atol=1e-6)


@given(KEYS, PURPOSES, st.integers(0, 2), st.integers(0, 31))
def test_another_key_draws_other_noise(key: tuple[int, int, int], purpose: Purpose, place: int, bit: int):
    """Whichever bit of the seed, the step or the micro-batch is another one; and so does another purpose."""
    other = [number ^ (1 << bit if i == place else 0) for i, number in enumerate(key)]
    slots = torch.arange(4)
    ours = StepDraws(*key, slots).normal(purpose, (8,))
    others = [StepDraws(*other, slots).normal(purpose, (8,))]
    others += [StepDraws(*key, slots).normal(another, (8,)) for another in Purpose if another != purpose]
    assert not any(torch.isclose(ours, theirs, rtol=0, atol=1e-6).all(1).any() for theirs in others)
