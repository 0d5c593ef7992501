"""The folders train, val and test of a data set as the split that they are."""

import logging

import numpy as np
import pytest

from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.data.sources.folder import FolderSource
from ddpm_lightning.data.sources.source import DataFileError
from ddpm_lightning.data.split import FolderSplit, Resplit
from ddpm_lightning.runs.build import build_data

SETTINGS = dict(batch_size=1, num_workers=0, seed=0)


@pytest.fixture
def data_of(tmp_path):
    """`data_of(folder, split)`: its data module, at 4x4 pixels."""

    def make(folder, split):
        source = FolderSource(tmp_path, folder, image_size=4)
        return ImageDataModule(source, split, cache_dir=str(tmp_path / "cache"), **SETTINGS)

    return make


def reds_and_blues(data, split):
    """How many images of a split are red, and how many blue."""
    means = data.split(split).images_at(range(len(data.split(split)))).mean(axis=(2, 3))
    return int((means[:, 0] > means[:, 2]).sum()), int((means[:, 2] > means[:, 0]).sum())


def test_three_folders_are_the_three_splits(tree, data_of):
    names = [*(f"Train/{n}.png" for n in "abcd"), "valid/a.png", "valid/b.png", "test/a.png"]
    data = data_of(tree({name: "blue" if name < "v" and name[0] == "t" else "red" for name in names}), FolderSplit())
    assert [reds_and_blues(data, split) for split in ("train", "val", "test")] == [(4, 0), (2, 0), (0, 1)]
    assert data.num_classes == 0


@pytest.mark.parametrize("other", ["test", "val", "validation"])
def test_a_second_folder_alone_is_val_and_test(tree, data_of, other):
    data = data_of(tree({"train/a.png": "red", "train/b.png": "red", f"{other}/a.png": "blue"}), FolderSplit())
    assert [reds_and_blues(data, split) for split in ("train", "val", "test")] == [(2, 0), (0, 1), (0, 1)]


def test_classes_are_the_folders_below_the_splits(tree, data_of):
    files = {
        "train/cat/a.png": "red",
        "train/dog/a.png": "blue",
        "train/dog/deep/b.png": "blue",
        "test/dog/a.png": "blue",
    }
    data = data_of(tree(files), FolderSplit())
    assert data.num_classes == 2
    assert data.split("train").labels_at([0, 1, 2]).tolist() == [0, 1, 1]
    assert data.split("test").labels_at([0]).tolist() == [1]


def test_without_the_choice_a_warning_says_that_they_are_mixed(tree, data_of, caplog):
    folder = tree({f"{split}/{n}.png": "red" for split in ("train", "test") for n in range(5)})
    for _ in range(2):  # a command makes two data modules: one to check its options
        data = data_of(folder, Resplit())
        assert data.num_classes == 2
        assert len(data.split("train")) == 8
    (message,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert message == (
        f"{folder}: the images of test, train are mixed and divided at random: "
        "dataset/split=folders takes these folders as the split that they are"
    )


def test_other_folders_are_not_taken_for_a_split(tree, data_of, caplog):
    data = data_of(tree({f"{top}/{n}.png": "red" for top in ("train", "car", "bus") for n in range(5)}), Resplit())
    assert data.num_classes == 3
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("cat/a.png", "dog/a.png"), r"needs images in .*/train and in val or test .* there are cat, dog: rename"),
        (("train/a.png", "cat/a.png"), r"needs images in .*/train and in val or test .* there are cat, train: rename"),
        (("val/a.png", "test/a.png"), r"needs images in .*/train and in val or test"),
        (("train/a.png", "test/a.png", "test.png"), r"each image of .* and test\.png is in none: move or delete it"),
    ],
)
def test_folders_that_are_not_a_split_are_refused(tree, data_of, files, message):
    with pytest.raises(DataFileError, match=message):
        data_of(tree(dict.fromkeys(files, "red")), FolderSplit()).split("train")


def test_other_data_sets_have_no_split_folders(counting_source, tmp_path):
    with pytest.raises(ValueError, match=r"split=folders is for dataset=folder: for counting choose official"):
        ImageDataModule(counting_source(), FolderSplit(), cache_dir=str(tmp_path), **SETTINGS)


def test_the_choice_is_made_on_the_command_line(compose_verb, tree, tmp_path):
    folder = tree({"train/a.png": "red", "test/a.png": "blue"})
    words = (
        "dataset=folder",
        "dataset/split=folders",
        f"dataset.path={folder}",
        f"paths.cache_dir={tmp_path / 'cache'}",
    )
    data = build_data(compose_verb("train", *words))
    assert np.array_equal(data.split("train").rows, [1]) and np.array_equal(data.split("test").rows, [0])
