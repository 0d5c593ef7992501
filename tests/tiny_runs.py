"""A data set of a few images, and the options of runs that take a second."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

TRAIN_IMAGES, TEST_IMAGES = 60, 40

TINY_OPTIONS = (
    "model.channels=[16,16]",
    "model.attention_levels=[1]",
    "model.head_channels=16",
    "dataset.batch_size=4",
    "dataset.split.val_size=20",
    "dataset.diagnostic_size=8",
    "sampler.steps=2",
    "optimizer.warmup_steps=1",
    "metrics.num_samples=16",
    "metrics.num_real=16",
    "metrics.kid_subset_size=8",
    "metrics.kid_subsets=4",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.max_steps=3",
    "trainer.val_check_interval=1.0",
    "trainer.check_val_every_n_epoch=1",
)
"""Options of train.py for these data: 10 steps an epoch, 8 images to validate on."""

OF_DENOISERS = ("sampler.", "metrics.", "model.num_classes", "label_dropout", "self_conditioning")
"""Beginnings of options that task=classifier does not have."""


def of_classifier(options: Sequence[str]) -> list[str]:
    """The options of a tiny run as those of a classifier's."""
    return ["task=classifier", *(option for option in options if not option.startswith(OF_DENOISERS))]


def write_idx(path: Path, array: np.ndarray) -> None:
    """Writes an idx file of unsigned bytes, any shape."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_tiny_data(root: Path) -> None:
    """Writes a data folder with blobs in place of digits and clothes, as unpacked files."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:28, :28]
    for name in ("MNIST", "FashionMNIST"):
        raw = root / name / "raw"
        raw.mkdir(parents=True)
        for prefix, count in (("train", TRAIN_IMAGES), ("t10k", TEST_IMAGES)):
            centres = rng.uniform(8, 20, (2, count, 1, 1))
            images = 255 * np.exp(-((rows - centres[0]) ** 2 + (columns - centres[1]) ** 2) / 30)
            write_idx(raw / f"{prefix}-images-idx3-ubyte", images)
            write_idx(raw / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)
