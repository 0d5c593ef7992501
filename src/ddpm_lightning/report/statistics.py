"""Confidence intervals, comparisons and main effects from a few seeds.

All functions take plain numbers, and assume that seeds are independent draws with approximately normal errors.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import stats

from ddpm_lightning.report.table import Effect, Verdict

LEVEL = 0.95
"""Confidence level of intervals; 1 - LEVEL is the chance that equal configurations are called different."""


class Interval(NamedTuple):
    """Ends of a confidence interval; NaN where there is none."""

    low: float
    high: float


def interval_over_seeds(values: Sequence[float], shared_covariance: float = 0.0) -> Interval:
    """The t-interval of the expected score, from one value per seed.

    Value i is the expected score, plus the effects of this seed's training, samples and own real images, plus an error
    from images that other seeds use too, so that values i and j have a covariance C_ij. Let V be the mean of their
    variances and C the mean of the C_ij, i != j. Then the mean of n values has variance V/n + (n - 1)/n C, and their
    sample variance s^2 has expectation V - C. So s^2/n + C is an unbiased estimate of the variance of the mean: s^2
    contains every error that differs between seeds, C the error that they share, and nothing counts twice.

    Its degrees of freedom are Satterthwaite's (1946) for the sum of s^2/n, with n - 1 degrees of freedom, and C, taken
    as known. They are an estimate, too large where s happens to be small: for 3 seeds and C = s^2/10n, the interval
    would cover 92 %. So the interval is never made shorter than without C; it then covers 95 to 95.5 % for 3 seeds and
    94.3 to 95 % for 5, whatever C is.

    Args:
        values: finite, one per seed.
        shared_covariance: C, at least 0.
    """
    n = len(values)
    if n < 2:
        return Interval(math.nan, math.nan)
    mean, seed_variance = float(np.mean(values)), float(np.var(values, ddof=1)) / n
    variance = seed_variance + shared_covariance
    half_widths = [_t(n - 1) * math.sqrt(seed_variance)]
    if shared_covariance > 0:
        share = seed_variance / variance
        half_widths.append(_t((n - 1) / share**2 if share > 1e-6 else math.inf) * math.sqrt(variance))
    return _symmetric(mean, max(half_widths))


def interval_of_samples(value: float, variance: float, degrees_of_freedom: float = math.inf) -> Interval:
    """The t-interval of one score with an estimated sampling variance; normal if that is known."""
    return _symmetric(value, _t(degrees_of_freedom) * math.sqrt(variance))


def significantly_different(values: np.ndarray) -> np.ndarray:
    """Which pairs of k configurations differ, from their (k, n) values on the same n seeds, both at least 2:
    (k, k) bool, symmetric.

    A pair differs if two tests agree. The first is Tukey's honest significant difference in the randomised block design
    with seeds as blocks (Montgomery, Design and Analysis of Experiments, chapter 4: the residual mean square with
    (k - 1)(n - 1) degrees of freedom). If all k configurations are equal, it calls any pair different in 5 % of sweeps,
    however many pairs there are. It assumes that all configurations vary equally, and would underestimate the variance
    of one that varies more than the others. So the pair's own paired t-test, which does not depend on the other
    configurations, must agree. For k = 2 the two tests are the same.

    Equal values are never significantly different. A constant nonzero difference always is: its t is infinite.
    """
    k, n = values.shape
    means = values.mean(axis=1)
    residuals = values - means[:, None] - values.mean(axis=0) + values.mean()
    mean_square = np.square(residuals).sum() / ((k - 1) * (n - 1))
    gaps = np.abs(means[:, None] - means)
    # Products instead of quotients, so that a zero gap with zero scatter is not 0/0.
    by_range = gaps > _critical_range(k, (k - 1) * (n - 1)) * np.sqrt(mean_square / n)
    scatter = (values[:, None] - values).std(axis=2, ddof=1)
    by_pair = gaps > _t(n - 1) * scatter / np.sqrt(n)
    different: np.ndarray = by_range & by_pair
    return different


def verdicts(values: np.ndarray) -> list[Verdict]:
    """The verdicts on k configurations, from their finite (k, n) values on the same n seeds; lower is better."""
    k, n = values.shape
    if n < 2 or k < 2:
        return [Verdict.UNKNOWN] * k
    lowest = int(values.mean(axis=1).argmin())
    different = significantly_different(values)[lowest]
    if different.sum() == k - 1:
        return [Verdict.BEST if row == lowest else Verdict.WORSE for row in range(k)]
    return [Verdict.WORSE if different[row] else Verdict.TIE for row in range(k)]


def main_effects(
    metric: str, configurations: Sequence[Mapping[str, str]], scores: Sequence[Mapping[int, float]]
) -> list[Effect]:
    """The main effects of all factors: the mean change of a score from a factor's first choice to each other choice.

    For each seed the change is the mean over all pairs of configurations that differ in this factor alone; its interval
    is the t-interval over the seeds. A choice without such a pair is left out. Factors that always change together are
    confounded and treated as one, named "a + b".

    Args:
        metric: name of the score.
        configurations: factor -> choice, with the same factors in each configuration.
        scores: seed -> finite value, for each configuration.
    """
    names = list(configurations[0])
    effects = []
    for group in confounded(names, configurations):
        others = [name for name in names if name not in group]
        # Choices of the other factors -> choices of this group -> scores.
        settings: dict[tuple[str, ...], dict[tuple[str, ...], Mapping[int, float]]] = {}
        for configuration, score in zip(configurations, scores, strict=True):
            settings.setdefault(_pick(configuration, others), {})[_pick(configuration, group)] = score
        baseline, *choices = dict.fromkeys(_pick(configuration, group) for configuration in configurations)
        for choice in choices:
            changes: dict[int, list[float]] = {}  # by seed
            for by_choice in settings.values():
                before, after = by_choice.get(baseline, {}), by_choice.get(choice, {})
                for seed in before.keys() & after.keys():
                    changes.setdefault(seed, []).append(after[seed] - before[seed])
            if changes:
                per_seed = [float(np.mean(pairs)) for pairs in changes.values()]
                effects.append(
                    Effect(
                        metric=metric,
                        factor=" + ".join(group),
                        baseline=" + ".join(baseline),
                        choice=" + ".join(choice),
                        mean=float(np.mean(per_seed)),
                        **interval_over_seeds(per_seed)._asdict(),
                        num_seeds=len(changes),
                        num_pairs=sum(map(len, changes.values())),
                    )
                )
    return effects


def confounded(factors: Sequence[str], configurations: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """The factors that vary, in groups of factors that always change together; most groups have one member."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for factor in factors:
        chosen = [configuration[factor] for configuration in configurations]
        if len(set(chosen)) > 1:
            # Equal for two factors if their choices partition the configurations in the same way.
            groups.setdefault(tuple(chosen.index(choice) for choice in chosen), []).append(factor)
    return list(groups.values())


def _pick(configuration: Mapping[str, str], factors: Sequence[str]) -> tuple[str, ...]:
    return tuple(configuration[factor] for factor in factors)


@cache
def _critical_range(k: int, degrees_of_freedom: int) -> float:
    """The 95 % quantile of the studentized range of k means."""
    return float(stats.studentized_range.ppf(LEVEL, k, degrees_of_freedom))


def _t(degrees_of_freedom: float) -> float:
    """The 95 % quantile of |t|; infinite degrees of freedom give the normal distribution."""
    return float(stats.t.ppf((1 + LEVEL) / 2, degrees_of_freedom))


def _symmetric(centre: float, half_width: float) -> Interval:
    return Interval(centre - half_width, centre + half_width)
