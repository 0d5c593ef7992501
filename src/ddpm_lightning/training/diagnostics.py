"""Errors of a denoiser in buckets of noise levels, which are comparable across schedules and targets."""

from itertools import pairwise

import torch
from torch import Tensor
from torchmetrics import Metric

from ddpm_lightning.diffusion.randomness import golden_spread
from ddpm_lightning.diffusion.schedule import Schedule

LOG_SNR_EDGES = (-9.0, -6.0, -3.0, 0.0, 3.0, 6.0, 9.0)
"""Edges of the buckets. Linear and cosine schedules of 1000 steps both cover every bucket completely."""


def fixed_log_snr(slots: Tensor) -> Tensor:
    """The fixed log SNR at which each slot's sample is evaluated, evenly spread over the buckets. (B,) to (B,)."""
    return LOG_SNR_EDGES[0] + golden_spread(slots) * (LOG_SNR_EDGES[-1] - LOG_SNR_EDGES[0])


def covers_bucket(schedule: Schedule, log_snr: Tensor) -> Tensor:
    """Whether the schedule, at t in [t_min, 1], covers the whole bucket of this log SNR. (B,) to (B,) of bool.

    Leave out the samples of a bucket that the schedule covers only partly or not at all, so that a bucket means the
    same log SNRs for every schedule that has it.
    """
    highest, lowest = schedule.log_snr(log_snr.new_tensor([schedule.t_min, 1.0]))
    edges = log_snr.new_tensor(LOG_SNR_EDGES)
    return ((lowest <= edges[:-1]) & (edges[1:] <= highest))[_bucket(log_snr)]


def _bucket(log_snr: Tensor) -> Tensor:
    """The bucket's index; the outer two buckets are unbounded. (B,) to (B,) int64."""
    return torch.bucketize(log_snr, log_snr.new_tensor(LOG_SNR_EDGES[1:-1]))


def bucket_names() -> list[str]:
    """`log_snr_-9_-6` and so on, in the order of `LOG_SNR_EDGES`."""
    return [f"log_snr_{low:g}_{high:g}" for low, high in pairwise(LOG_SNR_EDGES)]


def covered_buckets(schedule: Schedule) -> list[str]:
    """The names of the buckets that the schedule covers, in the order of `LOG_SNR_EDGES`."""
    centres = torch.tensor([(low + high) / 2 for low, high in pairwise(LOG_SNR_EDGES)])
    covered = covers_bucket(schedule, centres).tolist()
    return [name for name, is_covered in zip(bucket_names(), covered, strict=True) if is_covered]


class BucketedMean(Metric):
    """Means of a value within buckets of log SNR and over all samples; exact for any split over devices."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        buckets = len(LOG_SNR_EDGES) - 1
        self.add_state("total", torch.zeros(buckets, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(buckets, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, value: Tensor, log_snr: Tensor) -> None:
        """value, log_snr: (B,)."""
        bucket = _bucket(log_snr)
        self.total.index_add_(0, bucket, value.double())
        self.count.index_add_(0, bucket, torch.ones_like(value, dtype=torch.float64))

    def compute(self) -> Tensor:
        """(buckets + 1,): the mean of each bucket (NaN where it is empty), then the mean over all samples."""
        return torch.cat([self.total / self.count, (self.total.sum() / self.count.sum())[None]])
