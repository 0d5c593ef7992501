"""Coverage of the error bars and error rates of the verdicts, by simulations with a known truth.

Features are Gaussian, so the true KID has a closed form: the kernel (x.y/D + 1)^3 compares moments up to the third.
"""

from itertools import combinations

import numpy as np
import pytest
import torch

from ddpm_lightning.metrics.jackknife import kernel_jackknife, shared_covariance
from ddpm_lightning.report.statistics import interval_of_samples, interval_over_seeds, significantly_different, verdicts
from ddpm_lightning.report.table import Verdict

pytestmark = pytest.mark.slow

DRAWS = 1000
WINDOW = (0.93, 0.97)  # of the coverage: 95 %, plus or minus three standard errors of 1,000 draws
D, NUM_SAMPLES = 20, 200  # with fewer, KID is too skewed for a symmetric interval
SHIFT, SEED_EFFECT = 0.5, 0.014  # of a model's mean; the seed contributes a third of KID's variance


def true_kid(shift):
    """Between N(0, I) and N(m, I), m = shift in each dimension: (u + 1)^3 = 1 + 3u + 3u^2 + u^3 with u = x.y/D.

    E u, E u^2 and E u^3 are products of the moments m, m m + I and m m m + (m_i I_jk + m_j I_ik + m_k I_ij), so KID is
    made of the squared differences of these.
    """
    square = D * shift**2
    first, second, third = square, square**2, square**3 + 6 * square**2 + (3 * D + 6) * square
    return 3 * first / D + 3 * second / D**2 + third / D**3


def true_kid_over_seeds():
    """E over s ~ N(0, 1) of the KID at SHIFT + SEED_EFFECT * s: a polynomial of degree 6, so 8 nodes are exact."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    return sum(w * true_kid(SHIFT + SEED_EFFECT * s) for s, w in zip(nodes, weights, strict=True)) / weights.sum()


def draw_kids(num_seeds, stride, generator):
    """One configuration: for each seed, the true KID of its training, its jackknife and which real images it saw.

    Seed s sees images s * stride, ..., so a stride of 0 shares all of them between seeds and NUM_SAMPLES none.
    """
    pool = torch.randn(NUM_SAMPLES + (num_seeds - 1) * stride, D, generator=generator)
    drawn = []
    for seed in range(num_seeds):
        indices = np.arange(NUM_SAMPLES) + seed * stride
        shift = SHIFT + SEED_EFFECT * torch.randn((), generator=generator).item()
        generated = shift + torch.randn(NUM_SAMPLES, D, generator=generator)
        drawn.append((true_kid(shift), kernel_jackknife(pool[indices], generated), indices))
    return drawn


def mean_shared_covariance(drawn):
    return np.mean(
        [
            shared_covariance(a.real_influences, i, b.real_influences, j)
            for (_, a, i), (_, b, j) in combinations(drawn, 2)
        ]
    )


def covered(interval, truth):
    return interval.low <= truth <= interval.high


def test_many_kids_average_to_the_truth():
    generator = torch.Generator().manual_seed(0)
    values = [draw_kids(1, 0, generator)[0][1].value for _ in range(DRAWS)]
    assert np.mean(values) == pytest.approx(true_kid_over_seeds(), abs=3 * np.std(values) / DRAWS**0.5)


def test_one_seed_covers_the_kid_of_its_own_training():
    generator = torch.Generator().manual_seed(1)
    drawn = [draw_kids(1, 0, generator)[0] for _ in range(DRAWS)]
    coverage = np.mean([covered(interval_of_samples(kid.value, kid.variance), truth) for truth, kid, _ in drawn])
    assert WINDOW[0] <= coverage <= WINDOW[1]


@pytest.mark.parametrize("num_seeds", [3, 5])
@pytest.mark.parametrize("stride", [NUM_SAMPLES, NUM_SAMPLES // 2, 0], ids=["own", "half_shared", "shared"])
def test_several_seeds_cover_the_expected_kid(num_seeds, stride):
    generator = torch.Generator().manual_seed(num_seeds + stride)
    truth = true_kid_over_seeds()
    with_shared, without = [], []
    for _ in range(DRAWS):
        drawn = draw_kids(num_seeds, stride, generator)
        values = [kid.value for _, kid, _ in drawn]
        with_shared.append(covered(interval_over_seeds(values, max(0, mean_shared_covariance(drawn))), truth))
        without.append(covered(interval_over_seeds(values), truth))
    assert WINDOW[0] <= np.mean(with_shared) <= WINDOW[1]
    if stride == 0:  # errors that the seeds share do not show in their scatter
        assert np.mean(without) < WINDOW[0]
        assert np.mean(without) < np.mean(with_shared) - 0.03


@pytest.mark.parametrize("num_seeds", [3, 5])
@pytest.mark.parametrize("shared", [0.0, 0.1, 0.5, 2.0, 10.0])
def test_intervals_cover_any_known_shared_variance(num_seeds, shared):
    # The mean's variance over seeds is 1, and all seeds share an error of variance `shared`.
    draws = np.random.default_rng(num_seeds).standard_normal((4 * DRAWS, num_seeds + 1))
    common = shared**0.5 * draws[:, :1]
    values = common + num_seeds**0.5 * draws[:, 1:]
    coverage = np.mean([covered(interval_over_seeds(list(of), shared), 0.0) for of in values])
    assert 0.938 <= coverage <= 0.962  # its error is 0.35 %


EXACTLY_5_PERCENT = 0.059  # the standard error of a rate of 5 % in 5,000 draws is 0.3 %


def rate_of_differences(spreads, shifts, num_seeds, same):
    """Share of draws in which any two of the equal configurations in `same` are called different."""
    rng = np.random.default_rng(num_seeds)
    count = 0
    for _ in range(5 * DRAWS):
        seeds = rng.standard_normal(num_seeds)  # the effect of a seed on all configurations
        values = seeds + np.array(spreads)[:, None] * rng.standard_normal((len(spreads), num_seeds))
        count += significantly_different(values + np.array(shifts)[:, None])[np.ix_(same, same)].any()
    return count / (5 * DRAWS)


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
@pytest.mark.parametrize("num_configurations", [2, 4, 8])
def test_equal_configurations_rarely_differ(num_configurations, num_seeds):
    equal = range(num_configurations)
    rate = rate_of_differences([1] * num_configurations, [0] * num_configurations, num_seeds, equal)
    assert rate <= (EXACTLY_5_PERCENT if num_configurations == 2 else 0.05)


@pytest.mark.parametrize("num_seeds", [3, 5])
def test_equal_configurations_that_vary_more_rarely_differ(num_seeds):
    # The two lowest are equal; the others are far away and vary so little that the pooled residual is much too small.
    rate = rate_of_differences([1, 1, 0.1, 0.1, 0.1, 0.1], [0, 0, 9, 9, 9, 9], num_seeds, [0, 1])
    assert rate <= EXACTLY_5_PERCENT


def test_a_clear_difference_is_found():
    rng = np.random.default_rng(0)
    best = 0
    for _ in range(DRAWS):
        values = rng.standard_normal(3) + 0.2 * rng.standard_normal((4, 3)) + np.array([[0], [2], [2], [3]])
        best += verdicts(values) == [Verdict.BEST, Verdict.WORSE, Verdict.WORSE, Verdict.WORSE]
    assert best / DRAWS > 0.9
