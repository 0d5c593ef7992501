"""The order of the data is a pure function with the properties of shuffled epochs."""

import numpy as np
import pytest

from ddpm_lightning.data.order import batches_per_epoch, epoch_permutation, global_batch, rank_slice, spread_indices


def test_each_epoch_is_another_permutation_for_each_seed() -> None:
    orders = {tuple(epoch_permutation(50, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert all(sorted(order) == list(range(50)) for order in orders)


@pytest.mark.parametrize(("num_images", "num_wanted"), [(50, 1), (50, 7), (1638, 1000), (50, 50), (50, 60), (0, 5)])
def test_spread_indices_cover_the_split_in_equal_steps(num_images: int, num_wanted: int) -> None:
    indices = spread_indices(num_images, num_wanted)
    assert len(indices) == min(num_images, num_wanted)
    steps = set(np.diff(indices, prepend=0, append=num_images)[1:].tolist()) if len(indices) else set()
    assert steps <= {num_images // max(len(indices), 1), -(-num_images // max(len(indices), 1))}
    assert indices.tolist()[:1] in ([], [0])


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    epoch_permutation.cache_clear()
    first = epoch_permutation(50, 0, 0)
    assert (np.random.get_state()[1] == state).all()
    np.random.seed(2)
    epoch_permutation.cache_clear()
    assert (epoch_permutation(50, 0, 0) == first).all()


def test_a_cached_permutation_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        epoch_permutation(50, 0, 0)[0] = 7


def test_an_epoch_shows_no_image_twice() -> None:
    assert batches_per_epoch(43, 5) == 8
    for epoch in range(3):
        shown = np.concatenate([global_batch(epoch * 8 + batch, 43, 5, seed=0) for batch in range(8)])
        assert len(set(shown)) == 40
        assert (shown == epoch_permutation(43, 0, epoch)[:40]).all()


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_ranks_tile_the_global_batch(world_size: int) -> None:
    batch = global_batch(11, 43, 6, seed=0)
    parts = [batch[rank_slice(6, rank, world_size)] for rank in range(world_size)]
    assert (np.concatenate(parts) == batch).all()
    assert len({len(part) for part in parts}) == 1


def test_a_batch_that_does_not_divide_says_what_to_set() -> None:
    with pytest.raises(ValueError, match=r"dataset.batch_size=32 .*multiple of the 3 processes: set it to 33"):
        rank_slice(32, 0, 3)
    with pytest.raises(ValueError, match=r"multiple of the 4 processes: set it to 4"):
        rank_slice(2, 0, 4)


@pytest.mark.parametrize("batch_size", [0, 44])
def test_a_batch_size_without_a_batch_is_refused(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and the 43 training images, got {batch_size}"):
        global_batch(0, 43, batch_size, seed=0)
