"""Batches hold the right images, whatever the number of workers and ranks."""

import copy
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.image_dataset import IndexedImages, SplitImages
from ddpm_lightning.data.loader import TrainingLoader, evaluation_loader
from ddpm_lightning.data.order import global_batch
from ddpm_lightning.data.sources.endless import EndlessImages
from ddpm_lightning.data.sources.gradients import EndlessGradientsSource
from ddpm_lightning.data.sources.source import ImageSource


@pytest.fixture
def images(counting_source: Callable[..., ImageSource], tmp_path: Path) -> IndexedImages:
    """43 images, in an order of their own."""
    cached = cached_images(counting_source(), tmp_path)
    return IndexedImages(cached, np.random.default_rng(3).permutation(43))


@pytest.fixture
def endless() -> EndlessImages:
    return EndlessImages(EndlessGradientsSource("nowhere", 1, 4, 4, seed=0, epoch_size=43, held_out=20))


@pytest.fixture(params=["images", "endless"])
def any_images(request: pytest.FixtureRequest) -> SplitImages:
    return request.getfixturevalue(request.param)


def assert_same(ours: list[Batch], theirs: list[Batch]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))


def test_a_batch_is_the_chosen_rows(images: IndexedImages) -> None:
    batch = images.__getitems__([4, 0, 42])
    assert batch.images.dtype == torch.uint8 and batch.images.shape == (3, 1, 2, 2)
    assert batch.labels.dtype == batch.slots.dtype == torch.int64
    assert batch.labels.tolist() == images.rows[[4, 0, 42]].tolist() == batch.images[:, 0, 0, 0].tolist()
    assert batch.slots.tolist() == [4, 0, 42]
    assert_same([images[4]], [images.__getitems__([4])])


def test_changing_a_batch_does_not_change_the_data(images: IndexedImages) -> None:
    images[0].images.fill_(255)
    assert images[0].images.max() < 255


def test_pickling_sends_the_path_and_not_the_pixels(
    counting_source: Callable[..., ImageSource], tmp_path: Path
) -> None:
    images = IndexedImages(cached_images(counting_source(image_size=50), tmp_path), np.arange(0, 63, 3))
    sent = pickle.dumps(images)
    copy = pickle.loads(sent)
    assert len(sent) < 4000 < images.images_at([0, 1]).nbytes
    assert isinstance(copy._images, np.memmap) and copy._images.filename == images._images.filename  # type: ignore[attr-defined]
    assert copy.fingerprint == images.fingerprint
    assert_same([copy.__getitems__([5, 6])], [images.__getitems__([5, 6])])


def test_endless_images_survive_pickling(endless: EndlessImages) -> None:
    sent = pickle.dumps(endless)
    assert len(sent) < 2000
    assert_same([pickle.loads(sent).__getitems__([5, 60])], [endless.__getitems__([5, 60])])


@pytest.mark.parametrize("start", [0, 3, 7, 8, 21])
def test_a_pass_starts_where_the_training_is(images: IndexedImages, start: int) -> None:
    loader = TrainingLoader(images, batch_size=5, seed=9, position=lambda: start)
    batches = list(loader)
    assert len(batches) == len(loader) == 8
    for position, batch in enumerate(batches, start):
        assert batch.labels.tolist() == images.rows[global_batch(position, 43, 5, seed=9)].tolist()
        assert batch.slots.tolist() == [0, 1, 2, 3, 4]


def test_a_pass_over_endless_images_goes_on_where_the_training_is(endless: EndlessImages) -> None:
    loader = TrainingLoader(endless, batch_size=5, seed=0, position=lambda: 21)
    batches = list(loader)
    assert len(batches) == len(loader) == 8
    shown = torch.cat([batch.images for batch in batches])
    assert torch.equal(shown, torch.from_numpy(endless.images_at(range(21 * 5, 29 * 5))))


def test_workers_do_not_change_the_sequence(any_images: SplitImages) -> None:
    alone, helped = (list(TrainingLoader(any_images, 5, 0, lambda: 6, num_workers=workers)) for workers in (0, 2))
    assert_same(helped, alone)


def test_spawned_workers_give_the_same_batches(images: IndexedImages) -> None:
    spawned = DataLoader(
        images,
        batch_sampler=[[1, 2], [3]],
        num_workers=1,
        collate_fn=copy.copy,  # a spawned worker finds no function of this module
        multiprocessing_context="spawn",
    )
    assert_same(list(spawned), [images.__getitems__([1, 2]), images.__getitems__([3])])


def test_ranks_share_the_batch_of_a_single_process(any_images: SplitImages) -> None:
    whole = TrainingLoader(any_images, 6, 0, lambda: 4)
    ranks = [TrainingLoader(any_images, 6, 0, lambda: 4, rank=rank, world_size=3) for rank in range(3)]
    assert {len(rank) for rank in ranks} == {len(whole)}
    for batch, *parts in zip(whole, *ranks, strict=True):
        assert_same([batch], [Batch(*(torch.cat(fields) for fields in zip(*parts, strict=True)))])


def test_passes_leave_the_global_generator_alone(images: IndexedImages) -> None:
    state = torch.get_rng_state()
    for workers in (0, 1):
        next(iter(TrainingLoader(images, 5, 0, lambda: 0, num_workers=workers)))
        next(iter(evaluation_loader(images, 10, 5, 0, 1, workers)))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("world_size", [1, 2, 4, 7])
@pytest.mark.parametrize("num_images", [1, 20, 43, 1000])
def test_an_evaluation_shows_each_image_on_one_rank(images: IndexedImages, world_size: int, num_images: int) -> None:
    ranks = [list(evaluation_loader(images, num_images, 8, rank, world_size, 0)) for rank in range(world_size)]
    assert all(ranks), "Lightning would leave out the evaluation of a rank without batches"
    in_turn = [batch for round_ in itertools.zip_longest(*ranks) for batch in round_ if batch is not None]
    assert torch.cat([batch.slots for batch in in_turn]).tolist() == list(range(min(num_images, 43)))
    index_of = {int(row): index for index, row in enumerate(images.rows)}  # an image's label is its row
    shown = torch.tensor([index_of[int(row)] for batch in in_turn for row in batch.labels])
    assert shown[0] == 0
    gaps = shown.diff(append=torch.tensor([43])).tolist()
    assert set(gaps) <= {43 // len(shown), -(-43 // len(shown))}, "evenly spread over the split"
