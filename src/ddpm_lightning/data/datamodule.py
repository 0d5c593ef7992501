"""The splits of a data set and their loaders, as Lightning asks for them."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.cache.cache import CachedImages, cached_images
from ddpm_lightning.data.image_dataset import IndexedImages, SplitImages, hash_rows
from ddpm_lightning.data.loader import TrainingLoader, evaluation_loader
from ddpm_lightning.data.order import batches_per_epoch
from ddpm_lightning.data.sources.source import ImageSource
from ddpm_lightning.data.split import Split

log = logging.getLogger(__name__)

IN_MEMORY_BYTES = 256 * 2**20
"""With `in_memory="auto"`, larger arrays stay on disk."""


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
        eval_batch_size: int = 250,
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
            eval_batch_size: images per batch of the val and test loaders.
            in_memory: whether the images are held in memory, once per process, instead of read from disk as they are
                needed; "auto": if they are at most 256 MB.

        Raises:
            ValueError: a size is not positive or a seed is negative.
        """
        super().__init__()
        positive = {
            "batch_size": batch_size,
            "diagnostic_size": diagnostic_size,
            "eval_batch_size": eval_batch_size,
        }
        for name, value in positive.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name, value in {"seed": seed, "num_workers": num_workers}.items():
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        if in_memory not in (True, False, "auto"):
            raise ValueError(f"dataset.in_memory must be true, false or auto, not {in_memory}")
        self._source = source
        self._split = split
        self._batch_size = batch_size
        self._num_workers = num_workers
        self._seed = seed
        self._cache_dir = cache_dir
        self._diagnostic_size = diagnostic_size
        self._eval_batch_size = eval_batch_size
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

    @cached_property
    def images_hash(self) -> str:
        """Hash of which image each row is."""
        return self._source.images_hash()

    def split(self, name: str) -> SplitImages:
        """The images of "train", "val" or "test"; needs neither `setup` nor a trainer.

        Raises:
            ValueError: no such split, or the data set cannot be divided as wanted.
        """
        if name not in self._splits:
            raise ValueError(f"unknown split {name!r}: choose from {', '.join(self._splits)}")
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[str, SplitImages]:
        cached = self._loaded(self._cached)
        chosen = self._split.rows(cached.readable, self._source.official_splits())
        splits: dict[str, SplitImages] = {name: IndexedImages(cached, rows) for name, rows in chosen._asdict().items()}
        splits["train"] = self._source.training_split(splits["train"])
        return splits

    @cached_property
    def _cached(self) -> CachedImages:
        """Opened once, so that damaged images are reported once."""
        return cached_images(self._source, self._cache_dir)

    def _loaded(self, cached: CachedImages) -> CachedImages:
        """The images in memory, if that is wanted."""
        small = cached.images.nbytes <= IN_MEMORY_BYTES
        if self._in_memory is True or (self._in_memory == "auto" and small):
            return replace(cached, images=np.array(cached.images))
        return cached

    def prepare_data(self) -> None:
        """Build the cache; Lightning calls this on one process per node."""
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
        """The position in the data, and what gives it a meaning: what their order and division are made of."""
        return {**self._must_match(), "pixels_hash": self._cached.fingerprint, "position": self._consumed()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Check that a checkpoint was made with this data, and go on from its position.

        Raises:
            ValueError: it was made with other images, or another division, batch size or order.
        """
        fixes = {
            "images_hash": "restore the data set's files as they were",
            "split_hash": "restore the data set's files and dataset.split as they were",
            "batch_size": "set dataset.batch_size as it was",
            "seed": "set seeds.order (or seed) as it was",
        }
        wrong = [
            f"{key} was {state_dict[key]!s:.12} and is {value!s:.12}: {fixes[key]}"  # of a hash the beginning
            for key, value in self._must_match().items()
            if state_dict.get(key, value) != value  # the first checkpoints do not say which images they saw
        ]
        if wrong:
            raise ValueError(f"the checkpoint was made with other data ({'; '.join(wrong)})")
        self.warn_of_other_pixels(state_dict)
        self._resumed_at = state_dict["position"]

    def warn_of_other_pixels(self, state_dict: Mapping[str, Any]) -> None:
        """Warn if the images of a checkpoint's `state_dict` had other pixels under the same names.

        No error, because images that are encoded anew, or resized by another version of a library, do so too.
        """
        pixels = self._cached.fingerprint
        if state_dict.get("pixels_hash", pixels) != pixels:
            log.warning(
                "the images of %s have other pixels than those the model was trained on: were files replaced, or "
                "encoded anew?",
                self._source.name,
            )

    def _must_match(self) -> dict[str, Any]:
        return {
            "images_hash": self.images_hash,
            "split_hash": self.split_hash,
            "batch_size": self._batch_size,
            "seed": self._seed,
        }

    def _evaluation_loader(self, split: str) -> DataLoader[Batch]:
        rank, world_size = self._rank_and_world_size()
        return evaluation_loader(
            self.split(split), self._diagnostic_size, self._eval_batch_size, rank, world_size, self._num_workers
        )

    def _rank_and_world_size(self) -> tuple[int, int]:
        """(rank, world size); a data module without a trainer is a world of its own."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _position(self) -> int:
        """Where the next pass of the training loader starts."""
        consumed = self._consumed()
        # Lightning's option to train on the same few batches again and again
        overfit: int | float = self.trainer.overfit_batches if self.trainer else 0  # type: ignore[attr-defined]
        if overfit > 0:
            full = batches_per_epoch(len(self.split("train")), self._batch_size)
            return consumed % (min(overfit, full) if isinstance(overfit, int) else int(full * overfit))
        return consumed

    def _consumed(self) -> int:
        """Batches consumed in the whole training.

        Under `max_epochs` Lightning begins the first pass of a resumed run while it counts the steps to come, before
        it restores its own counter; the data module's state is restored by then.
        """
        if self.trainer is None:
            return 0
        counted: int = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        return max(counted, self._resumed_at)
