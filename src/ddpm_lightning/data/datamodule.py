"""The splits of a data set and their loaders, as Lightning asks for them."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.cache import cached_arrays
from ddpm_lightning.data.images import IndexedImages, hash_rows
from ddpm_lightning.data.loader import TrainingLoader, evaluation_loader
from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.data.order import batches_per_epoch
from ddpm_lightning.data.source import ImageSource


class ImageDataModule(LightningDataModule):
    """Train, val and test splits of an `ImageSource`.

    `test` is the authors' test split. Their training split is divided into `train` and `val` by a permutation seeded
    by `split_seed`. Use it with `Trainer(use_distributed_sampler=False)`: the loaders shard by themselves.
    """

    def __init__(
        self,
        source: ImageSource,
        batch_size: int,
        num_workers: int,
        seed: int,
        cache_dir: str,
        val_size: int = 2000,
        diagnostic_size: int = 2000,
        split_seed: int = 0,
        flip: bool = False,
        eval_batch_size: int = 250,
    ) -> None:
        """
        Args:
            source: where the images come from.
            batch_size: images of one training micro-step on all devices together.
            num_workers: processes that gather batches (0: the training process itself).
            seed: of the order of the training data.
            cache_dir: folder of the uint8 arrays.
            val_size: images taken from the authors' training split for `val`.
            diagnostic_size: images of a split that the val and test loaders show.
            split_seed: of the division into train and val.
            flip: whether training should mirror images at random (done on the device, by the model's owner).
            eval_batch_size: images per batch of the val and test loaders.

        Raises:
            ValueError: a size is not positive or a seed is negative.
        """
        super().__init__()
        positive = {
            "batch_size": batch_size,
            "val_size": val_size,
            "diagnostic_size": diagnostic_size,
            "eval_batch_size": eval_batch_size,
        }
        for name, value in positive.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name, value in {"seed": seed, "split_seed": split_seed, "num_workers": num_workers}.items():
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        self._source = source
        self._batch_size = batch_size
        self._num_workers = num_workers
        self._seed = seed
        self._cache_dir = cache_dir
        self._val_size = val_size
        self._diagnostic_size = diagnostic_size
        self._split_seed = split_seed
        self._eval_batch_size = eval_batch_size
        self._resumed_at = 0
        self.flip = flip
        self.normalizer = Normalizer()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self._source.channels, self._source.image_size, self._source.image_size)

    @property
    def num_classes(self) -> int:
        return self._source.num_classes

    @property
    def split_hash(self) -> str:
        """Hash of which images are train and which are val."""
        return hash_rows(np.concatenate([self.split("train").rows, self.split("val").rows]))

    def split(self, name: str) -> IndexedImages:
        """The images of "train", "val" or "test"; needs neither `setup` nor a trainer.

        Raises:
            ValueError: no such split, or val_size leaves no training images.
        """
        if name not in self._splits:
            raise ValueError(f"unknown split {name!r}: choose from {', '.join(self._splits)}")
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[str, IndexedImages]:
        development = cached_arrays(self._source, "train", self._cache_dir)
        test = cached_arrays(self._source, "test", self._cache_dir)
        available = len(development.labels)
        if self._val_size >= available:
            raise ValueError(f"val_size {self._val_size} leaves no training images of the {available} available")
        rows = np.random.default_rng(self._split_seed).permutation(available)
        return {
            "train": IndexedImages(development, rows[self._val_size :]),
            "val": IndexedImages(development, rows[: self._val_size]),
            "test": IndexedImages(test, np.arange(len(test.labels))),
        }

    def prepare_data(self) -> None:
        """Build the cache; Lightning calls this on one process per node."""
        cached_arrays(self._source, "train", self._cache_dir)
        cached_arrays(self._source, "test", self._cache_dir)

    def train_dataloader(self) -> TrainingLoader:
        rank, world_size = self._place()
        return TrainingLoader(
            self.split("train"), self._batch_size, self._seed, self._position, rank, world_size, self._num_workers
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("test")

    def state_dict(self) -> dict[str, Any]:
        """The position in the data, and what gives it a meaning: what their order and division are made of."""
        return {**self._identity(), "position": self._consumed()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Check that a checkpoint was made with this data, and go on from its position.

        Raises:
            ValueError: it was made with another division, batch size or order.
        """
        mine = self._identity()
        differing = [key for key in mine if state_dict.get(key) != mine[key]]
        if differing:
            pairs = "; ".join(f"{key}: checkpoint {state_dict.get(key)}, now {mine[key]}" for key in differing)
            raise ValueError(
                f"the checkpoint was made with other data ({pairs}): use the configuration it was made with"
            )
        self._resumed_at = state_dict["position"]

    def _identity(self) -> dict[str, Any]:
        return {"split_hash": self.split_hash, "batch_size": self._batch_size, "seed": self._seed}

    def _evaluation_loader(self, split: str) -> DataLoader[Batch]:
        rank, world_size = self._place()
        return evaluation_loader(
            self.split(split), self._diagnostic_size, self._eval_batch_size, rank, world_size, self._num_workers
        )

    def _place(self) -> tuple[int, int]:
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
