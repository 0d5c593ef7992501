"""The random draws of a step are functions of (seed, step, micro-batch, slot, purpose) and of nothing else."""

import pytest
import torch

from ddpm_lightning.diffusion.randomness import Purpose
from ddpm_lightning.training.draws import StepDraws

SLOTS = torch.arange(8)


def draws(seed: int = 1, step: int = 2, micro_batch: int = 3, slots: torch.Tensor = SLOTS) -> StepDraws:
    return StepDraws(seed, step, micro_batch, slots)


def test_two_halves_of_a_batch_draw_what_the_whole_draws():
    whole, halves = draws(), [draws(slots=SLOTS[:4]), draws(slots=SLOTS[4:])]
    assert torch.equal(torch.cat([h.uniform(Purpose.TIME) for h in halves]), whole.uniform(Purpose.TIME))
    noise = [h.normal(Purpose.NOISE, (1, 3, 5)) for h in halves]
    assert torch.equal(torch.cat(noise), whole.normal(Purpose.NOISE, (1, 3, 5)))
    shared = {float(d.shared_uniform(Purpose.SHARED_TIME)) for d in (whole, *halves)}
    assert len(shared) == 1


@pytest.mark.parametrize("change", [{"seed": 0}, {"step": 3}, {"micro_batch": 2}, {"slots": SLOTS + 8}])
def test_another_key_draws_other_numbers(change):
    first, other = draws(), draws(**change)
    assert not (first.uniform(Purpose.TIME) == other.uniform(Purpose.TIME)).any()
    assert not torch.isclose(first.normal(Purpose.NOISE, (4,)), other.normal(Purpose.NOISE, (4,)), atol=1e-6).any()
    if "slots" not in change:
        assert first.shared_uniform(Purpose.SHARED_TIME) != other.shared_uniform(Purpose.SHARED_TIME)


def test_purposes_and_samples_draw_different_numbers():
    numbers = torch.cat([draws().uniform(purpose) for purpose in Purpose])
    assert len(numbers.unique()) == len(Purpose) * len(SLOTS)


def test_dropout_repeats_and_differs_between_steps_and_ranks():
    def masks(step: int, micro_batch: int, rank: int) -> torch.Tensor:
        torch.rand(5)  # what was drawn before does not matter
        draws(step=step, micro_batch=micro_batch).seed_dropout(rank)
        return torch.nn.functional.dropout(torch.ones(64))

    keys = [(2, 0, 0), (3, 0, 0), (2, 1, 0), (2, 0, 1)]
    first = [masks(*key) for key in keys]
    assert all(torch.equal(mask, masks(*key)) for mask, key in zip(first, keys, strict=True))
    assert len({tuple(mask.tolist()) for mask in first}) == len(keys)
