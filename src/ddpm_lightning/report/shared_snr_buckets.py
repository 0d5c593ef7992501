"""Errors, and accuracies, averaged over the log-SNR buckets that all runs of a table share."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from ddpm_lightning.report.finished_run import FinishedRun
from ddpm_lightning.report.score_names import ON_NOISED_IMAGES
from ddpm_lightning.training.diagnostics import LOG_SNR_EDGES, bucket_names


def average_over_shared_buckets(runs: Sequence[FinishedRun]) -> tuple[list[FinishedRun], list[str]]:
    """The runs with comparable errors, and notes on these errors for the reader.

    An error depends on the log SNR more than on the model, and schedules cover different ranges of log SNR. So each
    error is replaced by its mean over the buckets that all runs share, with equal weights. Where the runs share no
    bucket, the error is dropped from every run, and a note says so. Runs whose error is not finite keep it, and their
    buckets do not count. Where no run has buckets, all errors are kept.
    """
    averaged, notes = list(runs), []
    for error in ON_NOISED_IMAGES:
        finite = [run for run in runs if _is_finite(run, error)]
        if not any(name.startswith(f"{error}/") for run in finite for name in run.diagnostics):
            continue
        shared = [name for name in bucket_names() if all(f"{error}/{name}" in run.diagnostics for run in finite)]
        if not shared:
            averaged = [_without(run, error) for run in averaged]
            notes.append(
                f"{error} is left out: these runs share no log-SNR bucket, and means over different noise levels are "
                "not comparable."
            )
            continue
        averaged = [_mean_over(run, error, shared) if _is_finite(run, error) else run for run in averaged]
        if len(shared) < len(bucket_names()):
            notes.append(f"{error} is averaged over the log SNRs that all runs share: {_ranges(shared)}.")
    return averaged, notes


def _is_finite(run: FinishedRun, error: str) -> bool:
    return math.isfinite(run.diagnostics.get(error, math.nan))


def _without(run: FinishedRun, error: str) -> FinishedRun:
    return replace(run, diagnostics={name: value for name, value in run.diagnostics.items() if name != error})


def _mean_over(run: FinishedRun, error: str, buckets: Sequence[str]) -> FinishedRun:
    mean = sum(run.diagnostics[f"{error}/{bucket}"] for bucket in buckets) / len(buckets)
    return replace(run, diagnostics={**run.diagnostics, error: mean})


def _ranges(buckets: Sequence[str]) -> str:
    """Ranges of log SNR, with adjacent buckets merged: "-6 to 0, 3 to 6"."""
    ranges: list[tuple[float, float]] = []
    for name, (low, high) in zip(bucket_names(), pairwise(LOG_SNR_EDGES), strict=True):
        if name not in buckets:
            continue
        if ranges and ranges[-1][1] == low:
            low = ranges.pop()[0]
        ranges.append((low, high))
    return ", ".join(f"{low:g} to {high:g}" for low, high in ranges)
