import math

import numpy as np
import pytest
from scipy import stats

from ddpm_lightning.report import statistics
from ddpm_lightning.report.statistics import (
    confounded,
    interval_of_samples,
    interval_over_seeds,
    main_effects,
    significantly_different,
    verdicts,
)
from ddpm_lightning.report.table import Effect, Verdict

BEST, TIE, WORSE, UNKNOWN = Verdict.BEST, Verdict.TIE, Verdict.WORSE, Verdict.UNKNOWN

# Vascular grafts at four extrusion pressures (8500, 8700, 8900, 9100 psi), six batches of resin as blocks:
# Montgomery, Design and Analysis of Experiments, example 4.1. Its residual mean square is 7.33, with 15 degrees.
GRAFTS = np.array(
    [
        [90.3, 89.2, 98.2, 93.9, 87.4, 97.9],
        [92.5, 89.5, 90.6, 94.7, 87.0, 95.8],
        [85.5, 90.8, 89.6, 86.2, 88.0, 93.4],
        [82.5, 89.5, 85.6, 87.4, 78.9, 90.7],
    ]
)


def test_interval_by_hand():
    # Mean 2, s = 1, t with 2 degrees of freedom 4.3027 (any table): 2 +- 4.3027 / sqrt(3).
    assert interval_over_seeds([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)


def test_interval_agrees_with_scipy():
    values = np.random.default_rng(0).standard_normal(5)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval_over_seeds(list(values)) == pytest.approx(theirs, rel=1e-9)


def test_shared_covariance_has_satterthwaites_freedom():
    # s^2/n = 1/3 and C = 1/3: the variance doubles, and 2 degrees of freedom become 2 * 2^2 = 8, t = 2.306. That would
    # be shorter than without C. For C = 3 the variance is 10/3 and the degrees of freedom 200, t = 1.972.
    assert interval_over_seeds([1.0, 2.0, 3.0], 1 / 3) == interval_over_seeds([1.0, 2.0, 3.0])
    half = 1.97190 * math.sqrt(10 / 3)
    assert interval_over_seeds([1.0, 2.0, 3.0], 3.0) == pytest.approx((2 - half, 2 + half), abs=1e-4)


def test_more_shared_covariance_never_shortens_an_interval():
    halves = [interval_over_seeds([1.0, 2.0, 3.0], c).high - 2 for c in (0, 0.01, 0.1, 1, 10, 1e6)]
    assert halves == sorted(halves)
    assert halves[-1] == pytest.approx(1.95996 * 1000, rel=1e-3)  # all error is shared: normal


def test_without_scatter_the_shared_error_remains():
    assert interval_over_seeds([2.0, 2.0]) == (2, 2)
    assert interval_over_seeds([2.0, 2.0], 0.25) == pytest.approx((2 - 0.97998, 2 + 0.97998), abs=1e-4)


def test_one_seed_has_no_scatter():
    assert all(map(math.isnan, interval_over_seeds([2.0])))
    assert all(map(math.isnan, interval_over_seeds([2.0], 0.1)))


def test_interval_of_samples_is_normal():
    assert interval_of_samples(1.0, 0.04) == pytest.approx((1 - 0.391993, 1 + 0.391993), abs=1e-5)


def test_a_published_block_design():
    # Tukey's q(0.05; 4, 15) = 4.08 gives 4.08 sqrt(7.33 / 6) = 4.51. The means are 92.82, 91.68, 88.92, 85.77: only the
    # last differs from the first two, by 7.05 and 5.92. Their paired t are 4.1 and 4.2, beyond 2.571 with 5 degrees.
    assert GRAFTS.mean(axis=1) == pytest.approx([92.82, 91.68, 88.92, 85.77], abs=0.01)
    expected = np.zeros((4, 4), dtype=bool)
    expected[[0, 1], 3] = expected[3, [0, 1]] = True
    assert np.array_equal(significantly_different(GRAFTS), expected)


@pytest.mark.parametrize(("gap", "different"), [(4.46, False), (4.56, True)])
def test_the_honest_difference_of_the_published_design(gap, different):
    # Moving a whole row does not change the residuals.
    moved = GRAFTS.copy()
    moved[3] += GRAFTS[1].mean() - gap - GRAFTS[3].mean()
    assert stats.ttest_rel(moved[1], moved[3]).pvalue < 0.05  # so that Tukey's criterion decides
    assert significantly_different(moved)[1, 3] == different


@pytest.mark.parametrize(("k", "freedom", "tabled"), [(3, 12, 3.77), (4, 15, 4.08), (3, 4, 5.04), (8, 14, 4.99)])
def test_critical_ranges_agree_with_tables(k, freedom, tabled):
    assert statistics._critical_range(k, freedom) == pytest.approx(tabled, abs=0.006)


def test_critical_range_agrees_with_scipys_one_way_test():
    # 4 groups of 4 have the 12 degrees of freedom of 4 configurations on 5 seeds.
    groups = np.random.default_rng(0).standard_normal((4, 4))
    interval = stats.tukey_hsd(*groups).confidence_interval(0.95)
    half = (interval.high[0, 1] - interval.low[0, 1]) / 2
    mean_square = groups.var(axis=1, ddof=1).mean()
    assert statistics._critical_range(4, 12) * math.sqrt(mean_square / 4) == pytest.approx(half, rel=1e-6)


def test_two_configurations_are_a_paired_t_test():
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(300):
        values = rng.standard_normal(4) + rng.standard_normal((2, 4)) + np.array([[0], [2]])
        answers.append(significantly_different(values)[0, 1])
        assert answers[-1] == (stats.ttest_rel(*values).pvalue < 0.05)
    assert 0 < sum(answers) < 300


def test_common_effects_of_seeds_do_not_matter():
    values = np.array([[1.0, 1.1, 1.2], [2.0, 2.2, 2.1]])
    assert significantly_different(values)[0, 1]
    assert significantly_different(values + np.array([0, 100, -100]))[0, 1]
    assert not significantly_different(np.array([values[0] + [0, 100, -100], values[1]]))[0, 1]


def test_low_variance_of_others_does_not_decide_a_pair():
    steady = [[10 + i, 10.01 + i, 10.02 + i] for i in range(6)]
    values = np.array([[0.0, 2.0, 1.0], [3.0, 1.9, 3.1], *steady])
    residuals = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    gap = values[1].mean() - values[0].mean()
    pooled = stats.studentized_range.ppf(0.95, 8, 14) * math.sqrt(np.square(residuals).sum() / 14 / 3)
    assert gap > pooled  # Tukey's test alone would call them different
    assert stats.ttest_rel(values[0], values[1]).pvalue > 0.05
    assert not significantly_different(values)[0, 1]
    assert significantly_different(values)[0, 7]


@pytest.mark.parametrize(("p", "different"), [(0.055, False), (0.045, True)])
def test_the_pairs_own_test_decides_where_the_others_hardly_vary(p, different):
    change = np.array([-0.5, 0.0, 0.1, 0.4])
    change += stats.t.isf(p / 2, 3) * change.std(ddof=1) / 2 - change.mean()  # a mean with this p
    assert stats.ttest_1samp(change, 0).pvalue == pytest.approx(p)
    others = np.random.default_rng(0).normal(scale=1e-3, size=(30, 4))
    assert significantly_different(np.vstack([np.zeros(4), change, others]))[0, 1] == different


def test_equal_values_tie_and_constant_gaps_differ():
    values = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.6, 0.7, 0.8]])
    assert np.array_equal(
        significantly_different(values), [[False, False, True], [False, False, True], [True, True, False]]
    )
    assert verdicts(values) == [TIE, TIE, WORSE]
    assert not significantly_different(values[:2]).any()
    assert significantly_different(values[1:])[0, 1]


def test_verdicts():
    steps = np.array([0.0, 0.1, 0.05])
    far = [steps, steps[::-1] + 5, steps + 9]
    assert verdicts(np.array(far)) == [BEST, WORSE, WORSE]
    assert verdicts(np.array(far[::-1])) == [WORSE, WORSE, BEST]
    assert verdicts(np.array([far[1], steps, steps[::-1] + 0.01])) == [WORSE, TIE, TIE]


def test_no_verdict_without_two_configurations_and_two_seeds():
    assert verdicts(np.ones((1, 3))) == [UNKNOWN]
    assert verdicts(np.array([[1.0], [2.0]])) == [UNKNOWN, UNKNOWN]
    assert verdicts(np.empty((2, 0))) == [UNKNOWN, UNKNOWN]


def crossed(*seeds):
    """schedule x loss; cosine lowers the score by 1 with noise and 3 with velocity, plus seed/10."""
    base = {("linear", "noise"): 5, ("linear", "velocity"): 9, ("cosine", "noise"): 4, ("cosine", "velocity"): 6}
    configurations = [{"schedule": schedule, "loss": loss} for schedule, loss in base]
    scores = [{s: value + s / 10 * (c == "cosine") for s in seeds} for (c, _), value in base.items()]
    return configurations, scores


def test_main_effects_by_hand():
    schedule, loss = main_effects("kid", *crossed(0, 1, 2))
    # Over seeds -2.0, -1.9, -1.8: mean -1.9, s = 0.1, half 4.3027 * 0.1 / sqrt(3) = 0.24841.
    assert (schedule.metric, schedule.factor, schedule.baseline, schedule.choice) == (
        "kid",
        "schedule",
        "linear",
        "cosine",
    )
    assert (schedule.mean, schedule.low, schedule.high) == pytest.approx((-1.9, -2.14841, -1.65159), abs=1e-5)
    assert (schedule.num_seeds, schedule.num_pairs) == (3, 6)
    # (4 + 2) / 2 on each seed.
    assert (loss.factor, loss.baseline, loss.choice, loss.mean) == ("loss", "noise", "velocity", pytest.approx(3))
    assert (loss.low, loss.high) == pytest.approx((3, 3))


def test_main_effect_of_one_seed_has_no_interval():
    schedule, _ = main_effects("kid", *crossed(0))
    assert schedule.mean == -2
    assert math.isnan(schedule.low) and math.isnan(schedule.high)


def test_main_effects_use_only_pairs_that_exist():
    configurations, scores = crossed(0, 1, 2)
    del scores[3][0]  # cosine, velocity, seed 0
    schedule, loss = main_effects("kid", configurations, scores)
    assert schedule.mean == pytest.approx((-1 - 1.9 - 1.8) / 3)
    assert schedule.num_pairs == loss.num_pairs == 5
    # Without any linear, velocity the loss is compared within cosine alone.
    scores[1] = {}
    loss = main_effects("kid", configurations, scores)[1]
    assert (loss.mean, loss.num_pairs, loss.num_seeds) == (pytest.approx(2), 2, 2)


def test_each_choice_is_compared_with_the_first():
    effects = main_effects("kid", [{"steps": s} for s in ("50", "5", "10")], [{0: 1.0}, {0: 4.0}, {0: 2.0}])
    assert [(e.baseline, e.choice, e.mean) for e in effects] == [("50", "5", 3), ("50", "10", 1)]


def test_a_choice_without_a_pair_has_no_effect():
    configurations = [{"a": "1", "b": "1"}, {"a": "2", "b": "2"}, {"a": "2", "b": "3"}]
    effects: list[Effect] = main_effects("kid", configurations, [{0: 1.0}, {0: 2.0}, {0: 3.0}])
    assert effects == []


def test_factors_that_always_change_together_are_one():
    configurations = [
        {"experiment": "x", "seeded": "1", "schedule": "linear", "fixed": "f"},
        {"experiment": "y", "seeded": "1", "schedule": "cosine", "fixed": "f"},
        {"experiment": "x", "seeded": "2", "schedule": "linear", "fixed": "f"},
        {"experiment": "y", "seeded": "2", "schedule": "cosine", "fixed": "f"},
    ]
    assert confounded(list(configurations[0]), configurations) == [["experiment", "schedule"], ["seeded"]]
    together, seeded = main_effects("kid", configurations, [{0: 1.0}, {0: 2.0}, {0: 4.0}, {0: 5.0}])
    assert together.factor == "experiment + schedule"
    assert (together.baseline, together.choice) == ("x + linear", "y + cosine")
    assert (together.mean, seeded.mean) == (1, 3)
