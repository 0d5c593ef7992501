"""A configuration's score with its error bar, estimated from its runs."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from torch import Tensor

from ddpm_lightning.metrics.jackknife import Jackknife, kernel_jackknife, shared_covariance
from ddpm_lightning.report.finished_run import FinishedRun
from ddpm_lightning.report.score_names import LIKELIHOODS, is_sample_score
from ddpm_lightning.report.statistics import Interval, interval_of_samples, interval_over_seeds
from ddpm_lightning.report.table import Estimate

SAMPLES = "samples"
"""`Estimate.covers` of KID's interval from the features of one seed."""
SEEDS_AND_SAMPLES = "seeds and samples"
"""`Estimate.covers` of KID's interval from the features of several seeds."""

IMAGES = "images"
"""`Estimate.covers` of a likelihood's interval from the images of one seed."""
SEEDS_AND_IMAGES = "seeds and images"
"""`Estimate.covers` of a likelihood's interval from the images of several seeds."""

SamplingErrors = list[tuple[Jackknife, np.ndarray]]
"""For each run: the jackknife of its KID, and the indices of its real images."""
ImageInfluences = list[tuple[Tensor, np.ndarray]]
"""For each run: the influences of its images, whose squares add up to the variance of their mean, and their indices."""


def scores(run: FinishedRun) -> dict[str, float]:
    """All scores and errors of a run, by name."""
    return run.diagnostics | run.values


def estimate(metric: str, runs: Mapping[int, FinishedRun]) -> Estimate:
    """Mean and interval of a score over the runs of one configuration.

    KID's interval includes the sampling error, by a jackknife, if the runs kept their features, and a likelihood's that
    of a mean over images, if they kept those of the images; `covers` says whether it does.

    Args:
        metric: name of the score; runs without it are ignored.
        runs: the runs by seed.

    Raises:
        ValueError: features that do not reproduce the KID of their run.
    """
    having = {seed: run for seed, run in runs.items() if metric in scores(run)}
    values = {seed: scores(run)[metric] for seed, run in having.items()}
    seen = list(values.values())
    if not seen or not np.isfinite(seen).all():
        return Estimate(values, math.nan, math.nan, math.nan, math.nan, "")
    deviation = float(np.std(seen, ddof=1)) if len(seen) > 1 else math.nan
    interval, covers = interval_over_seeds(seen), _covered_by_scatter(metric, having.values())
    if metric.startswith("kid_"):
        errors = _sampling_errors(metric, having.values())
        if errors is not None:
            interval, covers = _kid_interval(seen, list(having.values()), errors)
    elif metric in LIKELIHOODS and (influences := _image_influences(metric, having.values())) is not None:
        interval, covers = _likelihood_interval(seen, influences)
    return Estimate(values, float(np.mean(seen)), deviation, interval.low, interval.high, covers)


def _covered_by_scatter(metric: str, runs: Iterable[FinishedRun]) -> str:
    """The sources of error that differ between the runs, and so show in the scatter of their scores."""
    sampled = [run.sample_seed for run in runs]
    if len(sampled) < 2:
        return ""
    own_samples = is_sample_score(metric) and len(set(sampled)) == len(sampled)
    return "seeds and generated samples" if own_samples else "seeds"


def _sampling_errors(metric: str, runs: Iterable[FinishedRun]) -> SamplingErrors | None:
    """The sampling errors of all runs; None if a run's features are missing or, with a warning, damaged."""
    errors = []
    for run in runs:
        try:
            features = run.load_features()
        except FileNotFoundError:
            return None
        except ValueError as error:
            warnings.warn(str(error), stacklevel=2)
            return None
        jackknife = kernel_jackknife(features.real, features.generated)
        stored = run.values[metric]
        if not math.isclose(jackknife.value, stored, rel_tol=1e-5, abs_tol=1e-9):
            raise ValueError(
                f"{run.folder}: features.npz gives a {metric} of {jackknife.value:.6g}, its metrics.json has "
                f"{stored:.6g}: files of different runs were mixed; evaluate the run again"
            )
        errors.append((jackknife, features.real_indices))
    return errors


def _kid_interval(values: Sequence[float], runs: Sequence[FinishedRun], errors: SamplingErrors) -> tuple[Interval, str]:
    if len(values) == 1:
        return interval_of_samples(values[0], errors[0][0].variance), SAMPLES
    covariances = []
    for a, b in combinations(range(len(runs)), 2):
        (first, first_indices), (second, second_indices) = errors[a], errors[b]
        covariance = shared_covariance(first.real_influences, first_indices, second.real_influences, second_indices)
        if runs[a].sample_seed == runs[b].sample_seed:  # then samples of equal index share their x_T
            indices = np.arange(len(first.generated_influences))
            covariance += shared_covariance(first.generated_influences, indices, second.generated_influences, indices)
        covariances.append(covariance)
    return interval_over_seeds(values, max(0.0, float(np.mean(covariances)))), SEEDS_AND_SAMPLES


def _image_influences(metric: str, runs: Iterable[FinishedRun]) -> ImageInfluences | None:
    """The influence of each image on each run's mean; None if a run's file is missing or, with a warning, damaged."""
    influences = []
    for run in runs:
        try:
            bits, indices = run.load_likelihoods(metric)
        except FileNotFoundError:
            return None
        except ValueError as error:
            warnings.warn(str(error), stacklevel=2)
            return None
        influences.append(((bits - bits.mean()) / math.sqrt(len(bits) * (len(bits) - 1)), indices))
    return influences


def _likelihood_interval(values: Sequence[float], influences: ImageInfluences) -> tuple[Interval, str]:
    if len(values) == 1:
        of_images, _ = influences[0]
        return interval_of_samples(values[0], float(of_images.square().sum()), len(of_images) - 1), IMAGES
    covariances = [shared_covariance(*first, *second) for first, second in combinations(influences, 2)]
    return interval_over_seeds(values, max(0.0, float(np.mean(covariances)))), SEEDS_AND_IMAGES
