"""Splits, their identity, and what a checkpoint may be resumed with."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only

from ddpm_lightning.data import datamodule
from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.data.sources.mnist import MNISTSource
from ddpm_lightning.data.sources.source import ImageSource
from ddpm_lightning.data.split import OfficialSplit, Resplit, ValFromTrain
from ddpm_lightning.runs.restore import check_split

MakeModule = Callable[..., ImageDataModule]
OTHER_DIVISIONS: list[dict[str, Any]] = [
    {"split": ValFromTrain(val_size=11, seed=1)},
    {"split": ValFromTrain(val_size=12)},
    {"split": OfficialSplit()},
    {"split": Resplit()},
]


@pytest.fixture
def make(counting_source: Callable[..., ImageSource], tmp_path: Path) -> MakeModule:
    def make_module(**changes: Any) -> ImageDataModule:
        settings: dict[str, Any] = dict(
            source=counting_source(),
            split=ValFromTrain(val_size=11),
            batch_size=5,
            num_workers=0,
            seed=0,
            cache_dir=str(tmp_path),
        )
        return ImageDataModule(**(settings | changes))

    return make_module


def test_train_and_val_divide_the_official_training_split(make: MakeModule) -> None:
    data = make()
    train, val, test = (data.split(name) for name in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (32, 11, 20)
    assert sorted([*train.rows, *val.rows]) == list(range(43))
    assert test.rows.tolist() == list(range(43, 63))
    assert val.images_at([0, 3])[:, 0, 0, 0].tolist() == val.rows[[0, 3]].tolist()


def test_the_division_depends_on_the_split_alone(make: MakeModule, counting_source: Any) -> None:
    assert make(seed=5, batch_size=7, num_workers=1).split_hash == make().split_hash
    changes = ({}, *OTHER_DIVISIONS, {"source": counting_source(train=44)}, {"source": counting_source(test=21)})
    assert len({make(**change).split_hash for change in changes}) == len(changes)


def test_the_split_hash_is_the_same_in_every_version(make: MakeModule) -> None:
    data = make(split=OfficialSplit())
    rows = [*range(43), *range(43, 63), *range(43, 63)]
    assert data.split_hash == hashlib.sha256(b"".join(row.to_bytes(8, "little") for row in rows)).hexdigest()


def test_fingerprints_distinguish_splits_and_transforms(make: MakeModule, counting_source: Any) -> None:
    other = ValFromTrain(val_size=11, seed=1)
    modules = [make(), make(split=other), make(source=counting_source(image_size=4))]
    prints = [module.split(name).fingerprint for module in modules for name in ("train", "val")]
    assert len(set(prints)) == 6
    assert make().split("test").fingerprint == make(split=other).split("test").fingerprint


@pytest.mark.parametrize("in_memory", [True, False, "auto"])
def test_images_are_the_same_in_memory_and_on_disk(
    make: MakeModule, in_memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit, small in ((63 * 4, True), (63 * 4 - 1, False)):
        monkeypatch.setattr(datamodule, "IN_MEMORY_BYTES", limit)
        split = make(in_memory=in_memory).split("val")
        on_disk = isinstance(split._images, np.memmap)
        assert on_disk == (in_memory is False or (in_memory == "auto" and not small))
        assert split.images_at(range(11))[:, 0, 0, 0].tolist() == split.rows.tolist()


def test_val_and_test_loaders_cover_the_whole_split(make: MakeModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datamodule, "EVAL_BATCH_SIZE", 4)
    data = make(diagnostic_size=6)
    of_11, of_20 = [0, 1, 3, 5, 7, 9], [0, 3, 6, 10, 13, 16]
    for loader, split, indices in ((data.val_dataloader(), "val", of_11), (data.test_dataloader(), "test", of_20)):
        batches = list(loader)
        assert [len(batch.slots) for batch in batches] == [4, 2]
        assert torch.cat([batch.slots for batch in batches]).tolist() == list(range(6))
        assert torch.cat([batch.labels for batch in batches]).tolist() == data.split(split).rows[indices].tolist()


def test_images_classes_and_splits_are_logged_once(make: MakeModule, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        data = make()
        assert not caplog.messages
        for name in ("train", "val", "train"):
            data.split(name)
        data.prepare_data()
    assert caplog.messages == ["counting: 63 images, 10 classes; train 32, val 11, test 20"]


def test_other_ranks_than_the_first_do_not_log_the_sizes(
    make: MakeModule, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with caplog.at_level(logging.INFO):
        make().split("train")
    assert not caplog.messages


def test_properties(make: MakeModule) -> None:
    data = make()
    assert data.image_shape == (1, 2, 2) and data.num_classes == 10


def test_an_unknown_split_names_the_choices(make: MakeModule) -> None:
    with pytest.raises(ValueError, match="unknown split 'valid': choose from train, val, test"):
        make().split("valid")


def test_impossible_sizes_are_refused(make: MakeModule) -> None:
    with pytest.raises(ValueError, match="val_size=43 leaves no training images of the 43"):
        make(split=ValFromTrain(val_size=43)).split("train")
    with pytest.raises(ValueError, match="batch_size must be between 1 and the 32 training images, got 33"):
        make(batch_size=33).train_dataloader()
    for name in ("batch_size", "diagnostic_size"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
            make(**{name: 0})
    with pytest.raises(ValueError, match="seed must not be negative, not -1"):
        make(seed=-1)
    for workers in (-1, 10**6):
        with pytest.raises(ValueError, match=rf"dataset\.num_workers must be from 0 to 512, not {workers}"):
            make(num_workers=workers)
    with pytest.raises(ValueError, match=r"dataset\.in_memory must be true, false or auto, not sometimes"):
        make(in_memory="sometimes")


def test_a_checkpoint_holds_what_order_and_split_are_made_of(make: MakeModule) -> None:
    data = make()
    hashes = {"pixels_hash": cached_images(data._source, data._cache_dir).fingerprint, "split_hash": data.split_hash}
    assert data.state_dict() == {**hashes, "batch_size": 5, "seed": 0, "position": 0}


def test_what_does_not_change_the_batches_may_change_on_resume(make: MakeModule) -> None:
    state = make().state_dict()
    make(num_workers=2, diagnostic_size=4, in_memory=False).load_state_dict(state)


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"batch_size": 4}, r"batch_size was 5 and is 4: set dataset\.batch_size as it was"),
        ({"seed": 1}, r"seed was 0 and is 1: set seeds\.order \(or seed\) as it was"),
        *(
            ({**other}, r"split_hash was .*: restore the data set's files and dataset\.split")
            for other in OTHER_DIVISIONS
        ),
    ],
)
def test_a_checkpoint_made_with_other_data_is_refused(make: MakeModule, changes: dict[str, Any], advice: str) -> None:
    state = make().state_dict()
    with pytest.raises(ValueError, match=r"the checkpoint was made with other data.*" + advice):
        make(**changes).load_state_dict(state)


def test_a_checkpoint_of_another_number_of_images_is_refused(make: MakeModule, counting_source: Any) -> None:
    state = make(split=Resplit()).state_dict()
    other_official_splits = counting_source(train=50, test=13)
    make(split=Resplit(), source=other_official_splits).load_state_dict(state)
    for other in (counting_source(train=44), counting_source(train=42)):
        with pytest.raises(ValueError, match="restore the data set's files"):
            make(split=Resplit(), source=other).load_state_dict(state)


def test_a_model_is_not_judged_by_other_data(make: MakeModule) -> None:
    checkpoint = {"ImageDataModule": make(split=Resplit()).state_dict()}
    check_split(checkpoint, make(split=Resplit(), seed=3, batch_size=4))
    for other in (Resplit(seed=1), Resplit(train_fraction=0.7)):
        with pytest.raises(ValueError, match="split differently.*Restore the data set as it was"):
            check_split(checkpoint, make(split=other))


def repainted(source: Any) -> Any:
    """The same source, but all its images are grey."""

    class Repainted(type(source)):  # type: ignore[misc]
        def fingerprint(self) -> str:
            return "repainted"

        def read(self, rows: range, images: np.ndarray) -> dict[int, str]:
            images[:] = 7
            return {}

    return Repainted()


def relabelled(source: Any) -> Any:
    """The same source, but with other labels."""

    class Relabelled(type(source)):  # type: ignore[misc]
        def fingerprint(self) -> str:
            return "relabelled"

        def labels(self) -> np.ndarray:
            return np.roll(super().labels(), 1)

    return Relabelled()


@pytest.mark.parametrize("change", [repainted, relabelled])
def test_a_resume_refuses_other_images_and_an_evaluation_warns(
    make: MakeModule, counting_source: Any, change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    state, other = make().state_dict(), make(source=change(counting_source()))
    assert other.split_hash == state["split_hash"]
    with pytest.raises(ValueError, match=r"made with other data \(pixels_hash was .*restore the data set's files"):
        other.load_state_dict(state)
    check_split({"ImageDataModule": state}, make())
    assert not caplog.records
    check_split({"ImageDataModule": state}, other)
    assert "are not the same as those the model was trained on" in caplog.text


def test_an_old_checkpoints_hash_of_names_is_ignored(make: MakeModule, caplog: pytest.LogCaptureFixture) -> None:
    state = {**make().state_dict(), "images_hash": "of names, which is not computed any more"}
    make().load_state_dict(state)
    check_split({"ImageDataModule": state}, make())
    assert not caplog.records


def test_a_checkpoint_without_a_hash_of_pixels_can_be_used(make: MakeModule, caplog: pytest.LogCaptureFixture) -> None:
    state = {key: value for key, value in make().state_dict().items() if key != "pixels_hash"}
    make().load_state_dict(state)
    check_split({"ImageDataModule": state}, make())
    assert not caplog.records
    with pytest.raises(ValueError, match="split_hash was"):
        make(split=Resplit()).load_state_dict(state)


def test_prepare_data_builds_the_cache(make: MakeModule, tmp_path: Path) -> None:
    make().prepare_data()
    assert len(list(tmp_path.glob("*/manifest.json"))) == 1


def test_damaged_images_are_reported_once(
    make: MakeModule, counting_source: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Damaged(type(counting_source())):  # type: ignore[misc]
        skip_damaged = True

        def read(self, rows: range, images: np.ndarray) -> dict[int, str]:
            return {**super().read(rows, images), 3: "image 3"}

    data = make(source=Damaged())
    data.prepare_data()
    assert 3 not in data.split("train").rows and len(data.split("test")) == 20
    assert caplog.text.count("1 of 63 images of counting cannot be read") == 1


def test_real_mnist(mnist_root: Path, tmp_path: Path) -> None:
    data = ImageDataModule(MNISTSource(mnist_root), ValFromTrain(), 32, 0, seed=0, cache_dir=str(tmp_path))
    assert (len(data.split("train")), len(data.split("val")), len(data.split("test"))) == (58000, 2000, 10000)
    assert data.image_shape == (1, 28, 28) and data.num_classes == 10
    assert len(data.train_dataloader()) == 1812
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (32, 1, 28, 28) and batch.images.dtype == torch.uint8
    # The test set as published: first labels, and the mean brightness that normalisation recipes quote (0.1325).
    assert data.split("test").labels_at(np.arange(6)).tolist() == [7, 2, 1, 0, 4, 1]
    assert data.split("test").images_at(np.arange(10000)).mean() / 255 == pytest.approx(0.1325, abs=1e-4)
