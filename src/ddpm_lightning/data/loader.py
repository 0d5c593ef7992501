"""Loaders over a split: training batches in an order that a resumed run continues exactly, and plain passes.

Lightning's own bookkeeping (`set_epoch`, `__iter__` per epoch) cannot give an exact order after a resume: its epoch
number lags or leads the data. So the training order depends on one number only, the count of batches consumed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.image_dataset import SplitImages
from ddpm_lightning.data.order import batches_per_epoch, rank_slice, spread_indices


class TrainingLoader:
    """Shuffled training batches of one rank; `len()` is always that of a full epoch.

    Each `__iter__` asks `position` how many batches the training has consumed, and yields the `len()` batches from
    there on. It does not stop where an epoch of data ends: Lightning stops a pass itself after a resume in mid-epoch
    or under `limit_train_batches`, and a pass that ended early would cost it that epoch's validation.
    """

    def __init__(
        self,
        images: SplitImages,
        batch_size: int,
        seed: int,
        position: Callable[[], int],
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
    ) -> None:
        """
        Args:
            images: the training split.
            batch_size: images of one micro-step on all ranks together.
            seed: of the order, not negative.
            position: the number of batches consumed so far in the whole training, over all restarts.
            rank: this process, of `world_size`.
            world_size: number of processes that share each batch.
            num_workers: processes that gather batches; the sequence is the same for any number.

        Raises:
            ValueError: batch_size is larger than the split or not a multiple of world_size.
        """
        self._length = batches_per_epoch(len(images), batch_size)
        self._share = rank_slice(batch_size, rank, world_size)
        self._images = images
        self._batch_size = batch_size
        self._seed = seed
        self._num_workers = num_workers
        self.position = position

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        start = self.position()
        indices = (
            self._images.batch_indices(position, self._batch_size, self._seed)[self._share].tolist()
            for position in range(start, start + self._length)
        )
        slots = torch.arange(self._share.start, self._share.stop)
        return iter(_loader(self._images, indices, self._num_workers, _WithSlots(slots)))

    def state_dict(self) -> dict[str, Any]:
        """Empty, for `position` is the trainer's own count. Lightning warns at a resume where this is missing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to restore."""


def evaluation_loader(
    images: SplitImages, num_images: int, batch_size: int, rank: int, world_size: int, num_workers: int
) -> DataLoader[Batch]:
    """One pass over images of a split, each seen by exactly one rank.

    They are spread evenly over the split. Their slots are their places in the pass, 0, 1, 2, ...: indices in equal
    steps could be in step with whatever is a function of the slot.

    The list of batches does not depend on the number of ranks: rank r takes batches r, r + W, ... Nothing is padded,
    so ranks may have unequal numbers of batches. A rank without any gets one without images, because Lightning skips
    the whole pass, hooks and all, on a rank without a batch, and the others would wait for it.

    Args:
        images: the split.
        num_images: how many of its images to show (all if it has fewer).
        batch_size: images per batch; the last batch may be smaller.
        rank: this process, of `world_size`.
        world_size: number of processes that share the pass.
        num_workers: processes that gather batches.
    """
    indices = spread_indices(len(images), num_images)
    batches = [indices[start : start + batch_size].tolist() for start in range(0, len(indices), batch_size)]
    return _loader(images, batches[rank::world_size] or [[]], num_workers, _WithPlaces(torch.from_numpy(indices)))


def _loader(
    images: SplitImages, batches: Iterable[Sequence[int]], num_workers: int, finish: Callable[[Batch], Batch]
) -> DataLoader[Batch]:
    return DataLoader(
        images,
        batch_sampler=batches,  # type: ignore[arg-type]  # any iterable of indices does
        num_workers=num_workers,
        collate_fn=finish,  # type: ignore[arg-type]  # `__getitems__` has made the batch already
        pin_memory=torch.cuda.is_available(),
        # A DataLoader without a generator of its own draws a seed from the global one at each `iter`, which would
        # make the model's randomness depend on when passes begin.
        generator=torch.Generator(),
    )


class _WithSlots:
    """Replaces a batch's slots; a class because spawned workers must be able to unpickle it."""

    def __init__(self, slots: torch.Tensor) -> None:
        self._slots = slots

    def __call__(self, batch: Batch) -> Batch:
        return batch._replace(slots=self._slots)


class _WithPlaces:
    """Replaces a batch's slots, which are indices in the split, by their places among the indices that are shown."""

    def __init__(self, shown: torch.Tensor) -> None:
        self._shown = shown

    def __call__(self, batch: Batch) -> Batch:
        return batch._replace(slots=torch.searchsorted(self._shown, batch.slots))
