"""Means within buckets of log SNR."""

import copy
import math
from itertools import compress, pairwise
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.utilities import dim_zero_sum

from choices import choices, make
from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.normalizer import StandardizedNormalizer
from ddpm_lightning.diffusion.loss import SquaredError
from ddpm_lightning.diffusion.objective import Objective
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.schedules.limited import LimitedCosineSchedule, LimitedLinearSchedule
from ddpm_lightning.diffusion.target import Noise
from ddpm_lightning.diffusion.weighting import Constant
from ddpm_lightning.training.diagnostics import (
    LOG_SNR_EDGES,
    BucketedMean,
    bucket_names,
    covered_buckets,
    covers_bucket,
    fixed_log_snr,
)
from ddpm_lightning.training.module import DiffusionModule


def random_values(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    log_snr = torch.rand(count, generator=generator) * 18 - 9
    return torch.rand(count, generator=generator), log_snr


def test_the_means_match_numpy():
    value, log_snr = random_values(200)
    metric = BucketedMean()
    metric.update(value, log_snr)
    buckets = np.histogram(log_snr, LOG_SNR_EDGES, weights=value.double())[0] / np.histogram(log_snr, LOG_SNR_EDGES)[0]
    np.testing.assert_allclose(metric.compute(), [*buckets, value.double().mean()])


def test_the_sums_of_two_parts_are_those_of_the_whole():
    value, log_snr = random_values(50)
    whole, first, second = BucketedMean(), BucketedMean(), BucketedMean()
    whole.update(value, log_snr)
    first.update(value[:13], log_snr[:13])
    second.update(value[13:], log_snr[13:])
    merged = copy.deepcopy(first)
    merged.total, merged.count = first.total + second.total, first.count + second.count  # as a sum over devices
    torch.testing.assert_close(merged.compute(), whole.compute())
    assert not torch.allclose(merged.compute(), (first.compute() + second.compute()) / 2)
    assert set(whole._reductions.values()) == {dim_zero_sum}


def test_empty_buckets_are_nan_and_outer_ones_are_unbounded():
    metric = BucketedMean()
    metric.update(torch.tensor([2.0, 4.0]), torch.tensor([-9.5, 9.5]))
    result = metric.compute()
    assert result[[0, 5, 6]].tolist() == [2, 4, 3]
    assert result[1:5].isnan().all()


@pytest.mark.parametrize("count", [60, 600])
def test_the_fixed_noise_levels_cover_all_buckets_evenly(count):
    counts, _ = np.histogram(fixed_log_snr(torch.arange(count)), LOG_SNR_EDGES)
    assert counts.sum() == count
    assert abs(counts - count / 6).max() <= 2


def test_a_buckets_name_contains_its_edges():
    assert bucket_names()[0] == "log_snr_-9_-6"
    assert len(bucket_names()) == len(LOG_SNR_EDGES) - 1


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_schedules_of_1000_steps_cover_all_buckets(name):
    assert covers_bucket(make("schedule", name), fixed_log_snr(torch.arange(600))).all()


@pytest.mark.parametrize(
    "schedule",
    [LimitedCosineSchedule(), LimitedLinearSchedule(), CosineSchedule(50)],
    ids=["limited_cosine", "limited_linear", "few steps"],
)
def test_covered_samples_are_evaluated_at_their_own_log_snr(schedule):
    wanted = fixed_log_snr(torch.arange(600))
    reached = covers_bucket(schedule, wanted)
    met = schedule.log_snr(schedule.time_of_log_snr(wanted))
    exact = (met - wanted).abs() < 1e-3
    for low, high in pairwise(LOG_SNR_EDGES):
        inside = (low <= wanted) & (wanted < high)
        assert reached[inside].all() if exact[inside].all() else not reached[inside].any()
    assert 0 < reached.sum() < exact.sum() < 600


@pytest.mark.parametrize("name", choices("schedule"))
def test_covered_buckets_lie_between_the_schedules_ends(name):
    schedule = make("schedule", name)
    highest, lowest = schedule.log_snr(torch.tensor([schedule.t_min, 1.0], dtype=torch.float64)).tolist()
    inside = [lowest <= low and high <= highest for low, high in pairwise(LOG_SNR_EDGES)]
    assert covered_buckets(schedule) == list(compress(bucket_names(), inside))


class PerfectForUnitGaussians(nn.Module):
    """E[eps | x_t] for x_t = alpha x_0 + sigma eps, x_0 and eps N(0, I): sigma x_t / (alpha^2 + sigma^2)."""

    conditioning = "time"
    num_classes = None

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule

    def forward(self, scaled_x_t: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        rates = self.schedule.rates(t)
        factor = rates.sigma / rates.std().square() / rates.input_scale()
        return factor[:, None, None, None] * scaled_x_t


STD = 30  # of the images, on the scale 0..255, so that 0 and 255 are four deviations away


def errors_on_unit_gaussians(schedule: Schedule) -> dict[str, float]:
    normalizer = StandardizedNormalizer(1)
    normalizer.mean.fill_(127.5)
    normalizer.std.fill_(STD)
    objective = Objective(Noise(), SquaredError(), Constant())
    network = PerfectForUnitGaussians(schedule)
    module = DiffusionModule(network, (1, 8, 8), 0, schedule, Noise(), objective, Mock(), Mock(), None, normalizer)
    generator = torch.Generator().manual_seed(0)
    images = (127.5 + STD * torch.randn(1200, 1, 8, 8, generator=generator)).clamp(0, 255).round().to(torch.uint8)
    module.validation_step(Batch(images, torch.zeros(1200, dtype=torch.int64), torch.arange(1200)), 0)
    return {
        f"{name}/{bucket}": float(mean)
        for name in ("noise_mae", "image_mae")
        for bucket, mean in zip(bucket_names(), module.diagnostics[name].compute()[:-1], strict=True)
        if not mean.isnan()
    }


@pytest.mark.parametrize("name", choices("schedule"))
def test_a_bucket_means_the_same_with_every_schedule(name):
    """The error of eps has standard deviation alpha / sqrt(alpha^2 + sigma^2), that of x_0 has sigma / the same root.

    E|N(0, s^2)| = s sqrt(2 / pi). Only buckets that the schedule covers are logged. The image's error is reported on
    the scale from -1 to 1, on which these images have standard deviation STD / 127.5.
    """
    schedule = make("schedule", name)
    highest, lowest = schedule.log_snr(torch.tensor([schedule.t_min, 1.0], dtype=torch.float64)).tolist()
    expected = {}
    for error, sign, scale in (("noise_mae", 1, 1), ("image_mae", -1, STD / 127.5)):
        for bucket, (low, high) in zip(bucket_names(), pairwise(LOG_SNR_EDGES), strict=True):
            deviation = torch.linspace(low, high, 1001, dtype=torch.float64).mul(sign).sigmoid().sqrt()
            if lowest <= low and high <= highest:
                expected[f"{error}/{bucket}"] = scale * float(deviation.mean()) * math.sqrt(2 / math.pi)
    assert len(expected) >= 4
    errors = errors_on_unit_gaussians(schedule)
    assert errors.keys() == expected.keys()
    assert errors == pytest.approx(expected, rel=0.02)
