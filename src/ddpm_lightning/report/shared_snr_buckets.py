"""Errors at the noise levels that all runs of a table were judged at."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from ddpm_lightning.report.finished_run import FinishedRun
from ddpm_lightning.report.score_names import ERRORS
from ddpm_lightning.training.diagnostics import LOG_SNR_EDGES, bucket_names


def on_common_levels(runs: Sequence[FinishedRun]) -> tuple[list[FinishedRun], list[str]]:
    """The runs with errors that compare, and notes on these errors for the reader.

    An error depends on the log SNR more than on the model, and schedules reach different ones. So each error becomes
    its mean over the buckets that all runs have, with equal weights; where the runs have no bucket in common, the error
    is dropped from every run, and a note says so. Otherwise what is not finite stays as it is, and so does every run's
    error where none has buckets.
    """
    compared, notes = list(runs), []
    for error in ERRORS:
        judged = [run for run in runs if _is_finite(run, error)]
        if not any(name.startswith(f"{error}/") for run in judged for name in run.diagnostics):
            continue
        common = [name for name in bucket_names() if all(f"{error}/{name}" in run.diagnostics for run in judged)]
        if not common:
            compared = [_without(run, error) for run in compared]
            notes.append(
                f"{error} is left out: these runs have no bucket of log SNR in common, and means over different noise "
                "levels do not compare."
            )
            continue
        compared = [_mean_over(run, error, common) if _is_finite(run, error) else run for run in compared]
        if len(common) < len(bucket_names()):
            notes.append(f"{error} is the mean over the log SNRs that all runs have: {_ranges(common)}.")
    return compared, notes


def _is_finite(run: FinishedRun, error: str) -> bool:
    return math.isfinite(run.diagnostics.get(error, math.nan))


def _without(run: FinishedRun, error: str) -> FinishedRun:
    return replace(run, diagnostics={name: value for name, value in run.diagnostics.items() if name != error})


def _mean_over(run: FinishedRun, error: str, buckets: Sequence[str]) -> FinishedRun:
    mean = sum(run.diagnostics[f"{error}/{bucket}"] for bucket in buckets) / len(buckets)
    return replace(run, diagnostics={**run.diagnostics, error: mean})


def _ranges(buckets: Sequence[str]) -> str:
    """As "-6 to 0, 3 to 6", with neighbours put together."""
    ranges: list[tuple[float, float]] = []
    for name, (low, high) in zip(bucket_names(), pairwise(LOG_SNR_EDGES), strict=True):
        if name not in buckets:
            continue
        if ranges and ranges[-1][1] == low:
            low = ranges.pop()[0]
        ranges.append((low, high))
    return ", ".join(f"{low:g} to {high:g}" for low, high in ranges)
