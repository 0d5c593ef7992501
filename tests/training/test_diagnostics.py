"""Means within buckets of log SNR."""

import copy

import numpy as np
import pytest
import torch
from torchmetrics.utilities import dim_zero_sum

from ddpm_lightning.diffusion.rate_schedules import CosineRates, LinearRates
from ddpm_lightning.diffusion.schedule import CosineSchedule, LinearSchedule
from ddpm_lightning.training.diagnostics import LOG_SNR_EDGES, BucketedMean, bucket_names, fixed_log_snr, within_reach


def random_values(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    log_snr = torch.rand(count, generator=generator) * 18 - 9
    return torch.rand(count, generator=generator), log_snr


def test_the_means_are_numpys():
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
    merged.total, merged.count = first.total + second.total, first.count + second.count  # what a sum over devices does
    torch.testing.assert_close(merged.compute(), whole.compute())
    assert not torch.allclose(merged.compute(), (first.compute() + second.compute()) / 2)
    assert set(whole._reductions.values()) == {dim_zero_sum}


def test_an_empty_bucket_is_nan_and_levels_beyond_the_borders_count_in_the_outer_ones():
    metric = BucketedMean()
    metric.update(torch.tensor([2.0, 4.0]), torch.tensor([-9.5, 9.5]))
    result = metric.compute()
    assert result[[0, 5, 6]].tolist() == [2, 4, 3]
    assert result[1:5].isnan().all()


@pytest.mark.parametrize("count", [60, 600])
def test_the_judged_noise_levels_cover_all_buckets_evenly(count):
    counts, _ = np.histogram(fixed_log_snr(torch.arange(count)), LOG_SNR_EDGES)
    assert counts.sum() == count
    assert abs(counts - count / 6).max() <= 2


def test_a_buckets_name_says_where_it_is():
    assert bucket_names()[0] == "log_snr_-9_-6"
    assert len(bucket_names()) == len(LOG_SNR_EDGES) - 1


@pytest.mark.parametrize("make", [LinearSchedule, CosineSchedule])
def test_schedules_of_a_thousand_steps_reach_all_that_is_judged(make):
    assert within_reach(make(), fixed_log_snr(torch.arange(600))).all()


@pytest.mark.parametrize("schedule", [CosineRates(), LinearRates(), CosineSchedule(50)], ids=["c", "l", "few steps"])
def test_what_is_within_reach_is_judged_at_its_own_log_snr_and_nothing_else_is(schedule):
    wanted = fixed_log_snr(torch.arange(600))
    reached = within_reach(schedule, wanted)
    met = schedule.log_snr(schedule.time_of_log_snr(wanted))
    torch.testing.assert_close(met[reached], wanted[reached], rtol=0, atol=1e-3)
    assert ((met - wanted)[~reached].abs() > 1e-3).all()
    assert 0 < reached.sum() < 600
