"""The training data come in one order, wherever a run is stopped and on however many ranks it goes on."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ddpm_lightning.data.cache.cache import CacheEntry
from ddpm_lightning.data.image_dataset import ImageDataset
from ddpm_lightning.data.loader import TrainingLoader, evaluation_loader
from ddpm_lightning.data.order import batches_per_epoch, global_batch
from properties.strategies import SEEDS

RANKS = st.sampled_from([1, 2, 3, 4])
BATCH_SIZES = st.sampled_from([12, 24])  # for any of these numbers of ranks


def numbered_images(count: int) -> ImageDataset:
    """Images whose labels are their indices, and so are their pixels, modulo 256."""
    numbers = np.arange(count)
    pixels = numbers.astype(np.uint8).reshape(-1, 1, 1, 1)
    return ImageDataset(CacheEntry(pixels, numbers, numbers, "", Path()), numbers)


@st.composite
def passes(draw: st.DrawFn) -> list[tuple[int, int]]:
    """(batches taken, ranks) of each start of a run."""
    return draw(st.lists(st.tuples(st.integers(1, 9), RANKS), min_size=1, max_size=4))


def taken(loader: TrainingLoader, count: int) -> list[Tensor]:
    """(label, slot, pixel) of the first batches of a pass."""
    batches = [batch for batch, _ in zip(loader, range(count), strict=False)]
    return [torch.stack([batch.labels, batch.slots, batch.images.flatten().long()]) for batch in batches]


@given(st.integers(24, 300), BATCH_SIZES, SEEDS, passes())
def test_the_order_is_the_same_after_any_resume(count: int, batch_size: int, seed: int, runs: list[tuple[int, int]]):
    images = numbered_images(count)
    seen: list[Tensor] = []
    for wanted, world_size in runs:
        ranks = (TrainingLoader(images, batch_size, seed, seen.__len__, r, world_size) for r in range(world_size))
        shares = [taken(loader, wanted) for loader in ranks]
        seen += [torch.cat(parts, 1) for parts in zip(*shares, strict=True)]
    for number, (labels, slots, pixels) in enumerate(seen):
        assert labels.tolist() == global_batch(number, count, batch_size, seed).tolist()
        assert slots.tolist() == list(range(batch_size))
        assert torch.equal(pixels, labels % 256)


@given(st.integers(1, 300), st.integers(1, 40), SEEDS, st.integers(0, 10**6))
def test_an_epoch_shows_no_image_twice(count: int, batch_size: int, seed: int, epoch: int):
    batch_size = min(batch_size, count)
    length = batches_per_epoch(count, batch_size)
    shown = [global_batch(epoch * length + batch, count, batch_size, seed) for batch in range(length)]
    assert {len(batch) for batch in shown} == {batch_size}
    indices = np.concatenate(shown)
    assert len(set(indices.tolist())) == len(indices) > count - batch_size
    assert indices.min() >= 0 and indices.max() < count


@given(st.integers(1, 60), st.integers(1, 80), st.integers(1, 12), st.integers(1, 6))
def test_an_evaluation_is_the_same_on_any_number_of_ranks(count: int, wanted: int, batch_size: int, world_size: int):
    images = numbered_images(count)

    def shown(ranks: int) -> dict[int, int]:
        """Slot -> label."""
        loaders = [evaluation_loader(images, wanted, batch_size, rank, ranks, 0) for rank in range(ranks)]
        pairs = torch.cat([torch.stack([batch.slots, batch.labels]) for loader in loaders for batch in loader], 1)
        assert sorted(pairs[0].tolist()) == list(range(min(count, wanted)))
        return dict(pairs.T.tolist())

    assert shown(world_size) == shown(1)
