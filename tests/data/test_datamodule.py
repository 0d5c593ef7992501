"""Splits, their identity, and what a checkpoint may be resumed with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.data.mnist import MNISTSource
from ddpm_lightning.data.source import ImageSource

MakeModule = Callable[..., ImageDataModule]


@pytest.fixture
def make(counting_source: Callable[..., ImageSource], tmp_path: Path) -> MakeModule:
    def make_module(**changes: Any) -> ImageDataModule:
        settings: dict[str, Any] = dict(
            source=counting_source(), batch_size=5, num_workers=0, seed=0, cache_dir=str(tmp_path), val_size=11
        )
        return ImageDataModule(**(settings | changes))

    return make_module


def test_train_and_val_divide_the_authors_training_split(make: MakeModule) -> None:
    data = make()
    train, val, test = (data.split(name) for name in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (32, 11, 20)
    assert sorted([*train.rows, *val.rows]) == list(range(43))
    assert test.rows.tolist() == list(range(20))
    assert val.images_at([0, 3])[:, 0, 0, 0].tolist() == val.rows[[0, 3]].tolist()


def test_the_division_depends_on_split_seed_alone(make: MakeModule) -> None:
    assert make(seed=5, batch_size=7, num_workers=1).split_hash == make().split_hash
    assert make(split_seed=1).split_hash != make().split_hash
    assert make(val_size=12).split_hash != make().split_hash


def test_fingerprints_tell_splits_and_transforms_apart(make: MakeModule, counting_source: Any) -> None:
    modules = [make(), make(split_seed=1), make(source=counting_source(image_size=4))]
    prints = [module.split(name).fingerprint for module in modules for name in ("train", "val")]
    assert len(set(prints)) == 6
    assert make().split("test").fingerprint == make(split_seed=1).split("test").fingerprint


def test_val_and_test_loaders_show_the_first_images(make: MakeModule) -> None:
    data = make(diagnostic_size=9, eval_batch_size=4)
    for loader, split in ((data.val_dataloader(), "val"), (data.test_dataloader(), "test")):
        batches = list(loader)
        assert [len(batch.slots) for batch in batches] == [4, 4, 1]
        assert torch.cat([batch.slots for batch in batches]).tolist() == list(range(9))
        assert torch.cat([batch.labels for batch in batches]).tolist() == data.split(split).rows[:9].tolist()


def test_properties(make: MakeModule) -> None:
    data = make(flip=True)
    assert data.image_shape == (1, 2, 2) and data.num_classes == 10 and data.flip
    assert data.normalizer.value_range == (-1.0, 1.0)


def test_an_unknown_split_names_the_choices(make: MakeModule) -> None:
    with pytest.raises(ValueError, match="unknown split 'valid': choose from train, val, test"):
        make().split("valid")


def test_impossible_sizes_are_refused(make: MakeModule) -> None:
    with pytest.raises(ValueError, match="val_size 43 leaves no training images of the 43"):
        make(val_size=43).split("train")
    with pytest.raises(ValueError, match="batch_size must be between 1 and the 32 training images, got 33"):
        make(batch_size=33).train_dataloader()
    for name in ("batch_size", "val_size", "diagnostic_size", "eval_batch_size"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            make(**{name: 0})
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        make(seed=-1)


def test_a_checkpoint_made_with_other_data_is_refused(make: MakeModule) -> None:
    state = make().state_dict()
    make(num_workers=2, eval_batch_size=3).load_state_dict(state)
    for changes in ({"batch_size": 4}, {"seed": 1}, {"split_seed": 1}):
        with pytest.raises(ValueError, match=r"the checkpoint was made with other data"):
            make(**changes).load_state_dict(state)


def test_prepare_data_builds_the_cache(make: MakeModule, tmp_path: Path) -> None:
    make().prepare_data()
    assert len(list(tmp_path.glob("*/manifest.json"))) == 2


def test_real_mnist(mnist_root: Path, tmp_path: Path) -> None:
    data = ImageDataModule(MNISTSource(mnist_root), batch_size=32, num_workers=0, seed=0, cache_dir=str(tmp_path))
    assert (len(data.split("train")), len(data.split("val")), len(data.split("test"))) == (58000, 2000, 10000)
    assert data.image_shape == (1, 28, 28) and data.num_classes == 10
    assert len(data.train_dataloader()) == 1812
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (32, 1, 28, 28) and batch.images.dtype == torch.uint8
    # The test set as published: first labels, and the mean brightness that normalisation recipes quote (0.1325).
    assert data.split("test").labels_at(np.arange(6)).tolist() == [7, 2, 1, 0, 4, 1]
    assert data.split("test").images_at(np.arange(10000)).mean() / 255 == pytest.approx(0.1325, abs=1e-4)
