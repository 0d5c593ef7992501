"""Top-level folders that are named after the splits whose images they hold."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ddpm_lightning.data.sources.names import named
from ddpm_lightning.data.sources.source import DataFileError

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Lowercase name of a folder -> the split that it is."""


def split_of(file: str) -> str:
    """The split whose folder a file is in; "" for a file in none."""
    top, slash, _ = file.partition("/")
    return _SPLITS.get(top.lower(), "") if slash else ""


def split_folders(files: Sequence[str]) -> list[str]:
    """The folders of splits, sorted, if one of them is for training and another is not; otherwise none."""
    splits = {file.partition("/")[0]: split for file in files if (split := split_of(file))}
    return sorted(splits) if {"train"} < set(splits.values()) else []


def splits_by_folder(files: Sequence[str]) -> dict[str, np.ndarray]:
    """The rows of each split, int64 (n,). The only one of val and test is both."""
    of_file = np.array([split_of(file) for file in files])
    rows = {split: np.flatnonzero(of_file == split) for split in sorted(set(of_file))}
    return rows if "test" in rows else rows | {"test": rows["val"]}


def check_split_folders(folder: Path, files: Sequence[str]) -> None:
    """Raises DataFileError unless each file is in the folder of a split, and some are to train and some to test on."""
    if not split_folders(files):
        tops = sorted({file.partition("/")[0] for file in files})
        raise DataFileError(
            f"dataset/split=folders needs images in {folder}/train and in val or test beside it, and there are "
            f"{named(tops)}: rename the folders, or choose dataset/split=resplit"
        )
    if outside := [file for file in files if not split_of(file)]:
        raise DataFileError(
            f"dataset/split=folders needs each image of {folder} in train, val or test, and {named(outside)} is in "
            "none: move or delete it, or choose dataset/split=resplit"
        )
