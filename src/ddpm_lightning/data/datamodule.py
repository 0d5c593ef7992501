"""The data module: the splits of a data set and their loaders."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.cache.cache import CacheEntry, cached_images
from ddpm_lightning.data.image_dataset import ImageDataset, hash_rows
from ddpm_lightning.data.loader import TrainingLoader, evaluation_loader
from ddpm_lightning.data.order import batches_per_epoch
from ddpm_lightning.data.sources.source import ImageSource
from ddpm_lightning.data.split import Split, SplitRows

log = logging.getLogger(__name__)

EVAL_BATCH_SIZE = 250
"""Images per batch of the val and test loaders; it changes no result beyond rounding."""
IN_MEMORY_BYTES = 256 * 2**20
"""With `in_memory="auto"`, larger arrays stay on disk."""

MOST_WORKERS = 512
"""More processes than any machine has cores for would only exhaust it."""


class ImageDataModule(LightningDataModule):
    """Train, val and test splits of an `ImageSource`.

    Use it with `Trainer(use_distributed_sampler=False)`: the loaders shard by themselves.
    """

    def __init__(
        self,
        source: ImageSource,
        split: Split,
        batch_size: int,
        num_workers: int,
        seed: int,
        cache_dir: str,
        diagnostic_size: int = 1000,
        in_memory: bool | Literal["auto"] = "auto",
    ) -> None:
        """
        Args:
            source: where the images come from.
            split: which of them are trained on.
            batch_size: images of one training micro-step on all devices together.
            num_workers: processes that gather batches (0: the training process itself).
            seed: of the order of the training data.
            cache_dir: folder of the uint8 arrays.
            diagnostic_size: images of a split that the val and test loaders show, spread evenly over it.
            in_memory: whether the images are held in memory, once per process, instead of read from disk as they are
                needed; "auto": if they are at most 256 MB.

        Raises:
            ValueError: a size is not positive or a seed is negative, or the source cannot be divided by this split.
        """
        super().__init__()
        for name, value in {"batch_size": batch_size, "diagnostic_size": diagnostic_size}.items():
            if value < 1:
                raise ValueError(f"dataset.{name} must be at least 1, not {value}")
        if seed < 0:
            raise ValueError(f"seed must not be negative, not {seed}")
        if not 0 <= num_workers <= MOST_WORKERS:
            raise ValueError(f"dataset.num_workers must be from 0 to {MOST_WORKERS}, not {num_workers}")
        if in_memory not in (True, False, "auto"):
            raise ValueError(f"dataset.in_memory must be true, false or auto, not {in_memory}")
        split.prepare(source)
        self._source = source
        self._split = split
        self._batch_size = batch_size
        self._num_workers = num_workers
        self._seed = seed
        self._cache_dir = cache_dir
        self.diagnostic_size = diagnostic_size
        self._in_memory = in_memory
        self._resumed_at = 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self._source.image_shape

    @property
    def num_classes(self) -> int:
        return self._source.num_classes

    @property
    def split_hash(self) -> str:
        """Hash of which images are train, val and test."""
        return hash_rows(np.concatenate([images.rows for images in self._splits.values()]))

    @property
    def pixels_hash(self) -> str:
        """Hash of all images and labels of the data set, as they are in the cache."""
        return self._cached.fingerprint

    def split(self, name: str) -> ImageDataset:
        """The images of "train", "val" or "test"; needs neither `setup` nor a trainer.

        Raises:
            ValueError: no such split, or the data set cannot be divided as wanted.
        """
        if name not in self._splits:
            raise ValueError(f"unknown split {name!r}: choose from {', '.join(self._splits)}")
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[str, ImageDataset]:
        cached = self._cached
        if self._in_memory is True or (self._in_memory == "auto" and cached.images.nbytes <= IN_MEMORY_BYTES):
            cached = replace(cached, images=np.array(cached.images))
        chosen = self._split.rows(cached.readable, self._source.official_splits())
        self._log_sizes(cached, chosen)
        return {name: ImageDataset(cached, rows) for name, rows in chosen._asdict().items()}

    @rank_zero_only
    def _log_sizes(self, cached: CacheEntry, chosen: SplitRows) -> None:
        sizes = ", ".join(f"{name} {len(rows):,}" for name, rows in chosen._asdict().items())
        classes = f"{self.num_classes:,} classes" if self.num_classes else "no classes"
        log.info("%s: %s images, %s; %s", self._source.name, f"{len(cached.readable):,}", classes, sizes)

    @cached_property
    def _cached(self) -> CacheEntry:
        """Opened once, so that damaged images are reported once."""
        return cached_images(self._source, self._cache_dir)

    def prepare_data(self) -> None:
        """Builds the cache; Lightning calls this on one process per node."""
        _ = self._cached

    def train_dataloader(self) -> TrainingLoader:
        rank, world_size = self._rank_and_world_size()
        return TrainingLoader(
            self.split("train"), self._batch_size, self._seed, self._position, rank, world_size, self._num_workers
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("test")

    def state_dict(self) -> dict[str, Any]:
        """The position in the data, and everything that must match for it to be valid."""
        return {**self._must_match(), "position": self._consumed()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Checks that a checkpoint was made with this data, and continues from its position.

        Raises:
            ValueError: it was made with other images, or another division, batch size or order.
        """
        fixes = {
            "pixels_hash": "restore the data set's files as they were",
            "split_hash": "restore the data set's files and dataset.split as they were",
            "batch_size": "set dataset.batch_size as it was",
            "seed": "set seeds.order (or seed) as it was",
        }
        wrong = [
            f"{key} was {state_dict[key]!s:.12} and is {value!s:.12}: {fixes[key]}"  # only the beginning of a hash
            for key, value in self._must_match().items()
            if state_dict.get(key, value) != value  # the first checkpoints have no hash of the pixels
        ]
        if wrong:
            raise ValueError(f"the checkpoint was made with other data ({'; '.join(wrong)})")
        self._resumed_at = state_dict["position"]

    def _must_match(self) -> dict[str, Any]:
        return {
            "pixels_hash": self.pixels_hash,
            "split_hash": self.split_hash,
            "batch_size": self._batch_size,
            "seed": self._seed,
        }

    def _evaluation_loader(self, split: str) -> DataLoader[Batch]:
        rank, world_size = self._rank_and_world_size()
        return evaluation_loader(
            self.split(split), self.diagnostic_size, EVAL_BATCH_SIZE, rank, world_size, self._num_workers
        )

    def _rank_and_world_size(self) -> tuple[int, int]:
        """(rank, world size): (0, 1) without a trainer."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _position(self) -> int:
        """Where the next pass of the training loader starts."""
        consumed = self._consumed()
        # Lightning's option to train on the same few batches repeatedly
        overfit: int | float = self.trainer.overfit_batches if self.trainer else 0  # type: ignore[attr-defined]
        if overfit > 0:
            full = batches_per_epoch(len(self.split("train")), self._batch_size)
            return consumed % (min(overfit, full) if isinstance(overfit, int) else int(full * overfit))
        return consumed

    def _consumed(self) -> int:
        """Batches consumed in the whole training, for `TrainingLoader`.

        Under `max_epochs` Lightning begins the first pass of a resumed run before it restores its own counter; the data
        module's state is restored by then.
        """
        if self.trainer is None:
            return 0
        counted: int = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        return max(counted, self._resumed_at)
