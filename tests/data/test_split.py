"""Divisions of a data set: no image is in two splits, and a division depends on its arguments alone."""

import numpy as np
import pytest

from ddpm_lightning.data.split import OfficialSplit, Resplit, ValFromTrain

READABLE = np.setdiff1d(np.arange(100), [3, 50, 99])
TWO = {"train": np.arange(60), "test": np.arange(60, 100)}
THREE = {"train": np.arange(20, 40), "val": np.arange(20), "test": np.arange(40, 100)}


def union(rows):
    return np.union1d(rows.train, np.union1d(rows.val, rows.test))


@pytest.mark.parametrize("split", [Resplit(), Resplit(0.3, seed=5), OfficialSplit(), ValFromTrain(10)])
@pytest.mark.parametrize("official", [TWO, THREE])
def test_splits_are_disjoint_and_lose_no_readable_image(split, official):
    rows = split.rows(READABLE, official)
    assert not np.isin(rows.train, np.union1d(rows.val, rows.test)).any()
    lost = (
        np.isin(READABLE, official["val"])
        if isinstance(split, ValFromTrain) and "val" in official
        else np.zeros(97, bool)
    )
    np.testing.assert_array_equal(union(rows), READABLE[~lost])
    assert all(len(np.unique(chosen)) == len(chosen) for chosen in rows)


def test_resplit_is_a_seeded_permutation_cut_at_eighty_percent():
    rows = Resplit().rows(np.arange(8189), {})
    assert (len(rows.train), len(rows.val), len(rows.test)) == (6551, 1638, 1638)
    np.testing.assert_array_equal(rows.val, rows.test)
    np.testing.assert_array_equal(rows.train, np.random.default_rng(0).permutation(8189)[:6551])
    # A fair draw: of 1,638 rows the mean is within five standard errors (58) of the middle.
    assert abs(rows.test.mean() - 4094) < 5 * 58
    again, other = Resplit().rows(np.arange(8189), TWO), Resplit(seed=1).rows(np.arange(8189), {})
    np.testing.assert_array_equal(again.train, rows.train)
    assert len(np.intersect1d(other.test, rows.test)) < 500  # 328 are to be expected


def test_official_is_the_data_sets_own():
    three, two = OfficialSplit().rows(np.arange(100), THREE), OfficialSplit().rows(np.arange(100), TWO)
    for name in THREE:
        np.testing.assert_array_equal(getattr(three, name), THREE[name])
    np.testing.assert_array_equal(two.val, two.test)
    np.testing.assert_array_equal(OfficialSplit().rows(READABLE, THREE).val, np.setdiff1d(np.arange(20), [3]))


def test_val_from_train_leaves_the_test_split_alone():
    rows = ValFromTrain(val_size=10).rows(np.arange(100), TWO)
    assert (len(rows.train), len(rows.val)) == (50, 10)
    np.testing.assert_array_equal(rows.test, TWO["test"])
    np.testing.assert_array_equal(np.sort(np.concatenate([rows.train, rows.val])), TWO["train"])
    other = ValFromTrain(val_size=10, seed=1).rows(np.arange(100), TWO)
    assert set(other.val) != set(rows.val)


def test_impossible_divisions_are_refused():
    for split in (OfficialSplit(), ValFromTrain(1)):
        with pytest.raises(ValueError, match="no official splits: choose dataset/split=resplit"):
            split.rows(READABLE, {})
    with pytest.raises(ValueError, match=r"1 images are too few for dataset\.split\.train_fraction=0\.8"):
        Resplit().rows(np.arange(1), {})
    with pytest.raises(ValueError, match=r"val_size=60 leaves no training images of the 60"):
        ValFromTrain(60).rows(np.arange(100), TWO)


def test_wrong_options_are_refused():
    for fraction in (0, 1, -0.5, 2):
        with pytest.raises(ValueError, match="train_fraction must lie between 0 and 1"):
            Resplit(fraction)
    for split in (Resplit, ValFromTrain):
        with pytest.raises(ValueError, match=r"dataset\.split\.seed must not be negative, not -1"):
            split(seed=-1)
    with pytest.raises(ValueError, match="val_size must be at least 1, not 0"):
        ValFromTrain(0)
