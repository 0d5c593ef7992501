"""Batches hold the right images, whatever the number of workers and ranks."""

import itertools
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.image_dataset import ImageDataset
from ddpm_lightning.data.loader import TrainingLoader, evaluation_loader
from ddpm_lightning.data.order import global_batch
from ddpm_lightning.data.sources.source import ImageSource


@pytest.fixture
def images(counting_source: Callable[..., ImageSource], tmp_path: Path) -> ImageDataset:
    """43 images in random order."""
    cached = cached_images(counting_source(), tmp_path)
    return ImageDataset(cached, np.random.default_rng(3).permutation(43))


def assert_same(ours: list[Batch], theirs: list[Batch]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))


def test_images_and_labels_are_those_of_the_chosen_rows(images: ImageDataset) -> None:
    shown, labels = images.images_at([4, 0, 42]), images.labels_at([4, 0, 42])
    assert (shown.dtype, shown.shape, labels.dtype) == (np.uint8, (3, 1, 2, 2), np.int64)
    assert labels.tolist() == images.rows[[4, 0, 42]].tolist() == shown[:, 0, 0, 0].tolist()


def test_changing_a_batch_does_not_change_the_data(images: ImageDataset) -> None:
    loader = TrainingLoader(images, batch_size=5, seed=0, position=lambda: 0)
    first, again = (next(iter(loader)) for _ in range(2))
    for tensor in first:
        tensor.fill_(255)
    assert_same([next(iter(loader))], [again])


def test_pickling_sends_the_path_and_not_the_pixels(
    counting_source: Callable[..., ImageSource], tmp_path: Path
) -> None:
    images = ImageDataset(cached_images(counting_source(image_size=50), tmp_path), np.arange(0, 63, 3))
    sent = pickle.dumps(images)
    copy = pickle.loads(sent)
    assert len(sent) < 4000 < images.images_at([0, 1]).nbytes
    assert isinstance(copy._images, np.memmap)
    assert copy.fingerprint == images.fingerprint
    np.testing.assert_array_equal(copy.images_at([5, 6]), images.images_at([5, 6]))
    np.testing.assert_array_equal(copy.labels_at([5, 6]), images.labels_at([5, 6]))


@pytest.mark.parametrize("start", [0, 3, 7, 8, 21])
def test_a_pass_starts_at_the_position_of_the_training(images: ImageDataset, start: int) -> None:
    loader = TrainingLoader(images, batch_size=5, seed=9, position=lambda: start)
    batches = list(loader)
    assert len(batches) == len(loader) == 8
    for position, batch in enumerate(batches, start):
        assert batch.labels.tolist() == images.rows[global_batch(position, 43, 5, seed=9)].tolist()
        assert batch.slots.tolist() == [0, 1, 2, 3, 4]


def test_workers_do_not_change_the_sequence(images: ImageDataset) -> None:
    alone, helped = (list(TrainingLoader(images, 5, 0, lambda: 6, num_workers=workers)) for workers in (0, 2))
    assert_same(helped, alone)


def test_spawned_workers_give_the_same_batches(images: ImageDataset) -> None:
    loaders = [evaluation_loader(images, 12, 5, rank=0, world_size=1, num_workers=workers) for workers in (0, 1)]
    loaders[1].multiprocessing_context = "spawn"
    assert_same(list(loaders[1]), list(loaders[0]))


def test_ranks_share_the_batch_of_a_single_process(images: ImageDataset) -> None:
    whole = TrainingLoader(images, 6, 0, lambda: 4)
    ranks = [TrainingLoader(images, 6, 0, lambda: 4, rank=rank, world_size=3) for rank in range(3)]
    assert {len(rank) for rank in ranks} == {len(whole)}
    for batch, *parts in zip(whole, *ranks, strict=True):
        assert_same([batch], [Batch(*(torch.cat(fields) for fields in zip(*parts, strict=True)))])


def test_passes_leave_the_global_generator_alone(images: ImageDataset) -> None:
    state = torch.get_rng_state()
    for workers in (0, 1):
        next(iter(TrainingLoader(images, 5, 0, lambda: 0, num_workers=workers)))
        next(iter(evaluation_loader(images, 10, 5, 0, 1, workers)))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("world_size", [1, 2, 4, 7])
@pytest.mark.parametrize("num_images", [1, 20, 43, 1000])
def test_an_evaluation_shows_each_image_on_one_rank(images: ImageDataset, world_size: int, num_images: int) -> None:
    ranks = [list(evaluation_loader(images, num_images, 8, rank, world_size, 0)) for rank in range(world_size)]
    assert all(ranks), "Lightning would leave out the evaluation of a rank without batches"
    in_turn = [batch for round_ in itertools.zip_longest(*ranks) for batch in round_ if batch is not None]
    assert torch.cat([batch.slots for batch in in_turn]).tolist() == list(range(min(num_images, 43)))
    index_of = {int(row): index for index, row in enumerate(images.rows)}  # an image's label is its row
    shown = torch.tensor([index_of[int(row)] for batch in in_turn for row in batch.labels])
    assert shown[0] == 0
    gaps = shown.diff(append=torch.tensor([43])).tolist()
    assert set(gaps) <= {43 // len(shown), -(-43 // len(shown))}, "evenly spread over the split"
