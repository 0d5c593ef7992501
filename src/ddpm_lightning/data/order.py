"""Which images are shown, and in which order: pure functions, for the training data of the seed and the batches seen.

Nothing here has state, so a resumed run, or one on another number of devices, computes the same order.
"""

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=2)  # batches are asked for in order, and workers may be one epoch ahead
def epoch_permutation(num_images: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch shows the images: int64 (num_images,), read-only. The global RNG is not touched."""
    permutation = np.random.default_rng(np.random.SeedSequence((seed, epoch))).permutation(num_images)
    permutation.setflags(write=False)
    return permutation


def batches_per_epoch(num_images: int, batch_size: int) -> int:
    """Whole batches in an epoch; the remaining images are dropped (different ones each epoch).

    Raises:
        ValueError: batch_size is not positive or larger than the data set.
    """
    if not 1 <= batch_size <= num_images:
        raise ValueError(f"dataset.batch_size must be between 1 and the {num_images} training images, got {batch_size}")
    return num_images // batch_size


def global_batch(position: int, num_images: int, batch_size: int, seed: int) -> np.ndarray:
    """Batch number `position`, counted from 0 over the whole training, as all ranks together see it.

    Returns:
        int64 (batch_size,), indices in the training split, all different within an epoch.

    Raises:
        ValueError: batch_size is not positive or larger than the data set.
    """
    epoch, batch = divmod(position, batches_per_epoch(num_images, batch_size))
    return epoch_permutation(num_images, seed, epoch)[batch * batch_size : (batch + 1) * batch_size]


def spread_indices(num_images: int, num_wanted: int) -> np.ndarray:
    """Evenly spaced, increasing indices (the first images of a split may all be of one class).

    Returns:
        int64 (num_wanted,), or (num_images,) if there are fewer.
    """
    shown = min(num_wanted, num_images)
    return np.arange(shown) * num_images // max(shown, 1)


def rank_slice(batch_size: int, rank: int, world_size: int) -> slice:
    """The slots of the global batch that a rank takes: contiguous, equally many on each rank.

    Raises:
        ValueError: batch_size does not divide evenly among the ranks.
    """
    share, rest = divmod(batch_size, world_size)
    if rest or share == 0:
        raise ValueError(
            f"dataset.batch_size={batch_size} is that of all devices together, and must be a multiple of the "
            f"{world_size} processes: "
            f"set it to {(share + 1) * world_size}, or choose a number of devices that divides it"
        )
    return slice(rank * share, (rank + 1) * share)
