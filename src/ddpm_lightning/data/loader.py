"""Loaders over a split: training batches in an order that a resumed run continues exactly, and plain passes.

The training order depends on one number, the count of batches consumed in the whole training. Lightning's own
bookkeeping (`set_epoch`, `__iter__` per epoch) cannot give an exact order after a resume: its epoch number lags or
leads the data. So at the start of each pass the training loader asks for the count, and yields the batches from there.
A pass has the length of an epoch wherever it starts: Lightning stops it early after a resume in mid-epoch or under
`limit_train_batches`, and a pass that ended where an epoch of data ends would cost it that epoch's validation.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_convert

from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.image_dataset import ImageDataset
from ddpm_lightning.data.order import batches_per_epoch, global_batch, rank_slice, spread_indices


class TrainingLoader:
    """Shuffled training batches of one rank; `len()` is always that of a full epoch."""

    def __init__(
        self,
        images: ImageDataset,
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
            position: gives the number of batches consumed so far in the whole training, over all restarts.
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
        slots = np.arange(self._share.start, self._share.stop)
        requests = (
            (global_batch(position, len(self._images), self._batch_size, self._seed)[self._share], slots)
            for position in range(start, start + self._length)
        )
        return iter(_loader(self._images, requests, self._num_workers))

    def state_dict(self) -> dict[str, Any]:
        """Empty, for `position` is the trainer's own count. Lightning warns at a resume where this is missing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to restore."""


def evaluation_loader(
    images: ImageDataset, num_images: int, batch_size: int, rank: int, world_size: int, num_workers: int
) -> DataLoader[Batch]:
    """One pass over images of a split, each seen by exactly one rank.

    They are spread evenly over the split. Their slots are their positions in the pass, 0, 1, 2, ...: evenly spaced
    indices would alias with anything computed from the slot.

    The list of batches does not depend on the number of ranks: rank r takes batches r, r + W, ... Nothing is padded,
    so ranks may have unequal numbers of batches. A rank without any gets one without images, because Lightning skips
    the whole pass, hooks and all, on a rank without a batch, and the others would wait for it.

    Args:
        images: the split.
        num_images: how many of its images to show (all if it has fewer).
        batch_size: images per batch; the last batch may be smaller.
        rank, world_size, num_workers: as in `TrainingLoader`.
    """
    indices = spread_indices(len(images), num_images)
    slots = np.arange(len(indices))
    batches = [slots[start : start + batch_size] for start in range(0, len(slots), batch_size)]
    own = batches[rank::world_size] or [slots[:0]]
    return _loader(images, [(indices[batch], batch) for batch in own], num_workers)


_Request = tuple[np.ndarray, np.ndarray]
"""A batch to be gathered: indices in the split and slots, both int64 (B,)."""


class _Batches(Dataset[Batch]):
    """The batches of a split by their requests; a class because spawned workers must be able to unpickle it."""

    def __init__(self, images: ImageDataset) -> None:
        self._images = images

    def __getitems__(self, request: _Request) -> Batch:
        indices, slots = request
        images, labels = self._images.images_at(indices), self._images.labels_at(indices)
        return Batch(torch.from_numpy(images), torch.from_numpy(labels), torch.tensor(slots))


def _loader(images: ImageDataset, requests: Iterable[_Request], num_workers: int) -> DataLoader[Batch]:
    return DataLoader(
        _Batches(images),
        batch_sampler=requests,  # type: ignore[arg-type]  # whatever it yields is passed to `__getitems__`
        collate_fn=default_convert,  # changes nothing: `__getitems__` gives a batch
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        # A DataLoader without a generator of its own draws a seed from the global one at each `iter`, which would
        # make the model's randomness depend on when passes begin.
        generator=torch.Generator(),
    )
