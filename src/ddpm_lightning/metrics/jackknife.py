"""The sampling error of KID: the delete-one jackknife, in closed form.

Efron and Stein 1981, "The Jackknife Estimate of Variance". Samples are left out one at a time and never drawn with
replacement, as in a bootstrap: a duplicated sample would form a pair with itself, and KID is a mean over pairs.
"""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ddpm_lightning.metrics.feature_check import check_features
from ddpm_lightning.metrics.kernel import kernel_sums, pair_sums


@dataclass(frozen=True)
class Jackknife:
    """KID and the influence of each sample on it.

    The influence of sample j of n is sqrt((n - 1) / n) (KID without j - the mean of these over j), so the squared
    influences of a set add up to the variance of KID that is due to that set.

    Attributes:
        value: KID of all samples.
        real_influences: (N,) float64, of the real images.
        generated_influences: (M,) float64, of the generated images.
    """

    value: float
    real_influences: Tensor
    generated_influences: Tensor

    @property
    def variance(self) -> float:
        """Variance of KID over new real and new generated images."""
        return float(self.real_influences.square().sum() + self.generated_influences.square().sum())


def kernel_jackknife(real: Tensor, generated: Tensor) -> Jackknife:
    """KID of real (N, D) and generated (M, D) features with its influences, at about the cost of KID itself.

    Raises:
        ValueError: fewer than 3 samples, different D, or features that are not finite.
    """
    check_features(real, generated, minimum=3)
    real_pairs, generated_pairs = pair_sums(real), pair_sums(generated)
    real_across, generated_across = kernel_sums(real, generated)
    num_real, num_generated = len(real), len(generated)
    value = (
        real_pairs.mean() / (num_real - 1)
        + generated_pairs.mean() / (num_generated - 1)
        - 2 * real_across.mean() / num_generated
    )
    return Jackknife(
        float(value),
        _influences(real_pairs, real_across / num_generated),
        _influences(generated_pairs, generated_across / num_real),
    )


def shared_covariance(first: Tensor, first_indices: np.ndarray, second: Tensor, second_indices: np.ndarray) -> float:
    """Covariance of two KIDs that is due to their common samples.

    Args:
        first: (N,) influences on one KID of the samples `first_indices`, (N,) without duplicates.
        second: (M,) influences on the other of the samples `second_indices`, (M,) without duplicates.
    """
    _, in_first, in_second = np.intersect1d(first_indices, second_indices, assume_unique=True, return_indices=True)
    return float(first.cpu().numpy()[in_first] @ second.cpu().numpy()[in_second])


def _influences(pairs: Tensor, across: Tensor) -> Tensor:
    """Influences (n,) of a set's samples on KID.

    Leaving out sample j turns the mean over pairs, S / (n (n - 1)) with S = sum of all r_j, into (S - 2 r_j) /
    ((n - 1)(n - 2)), and the mean across, sum of all c_j / n, into (sum of all c_j - c_j) / (n - 1). Minus their
    means over j, these are -2 (r_j - mean r) / ((n - 1)(n - 2)) and -(c_j - mean c) / (n - 1).

    Args:
        pairs: (n,), kernel sums r_j over the n - 1 other samples of the set.
        across: (n,), kernel means c_j over the other set.
    """
    n = len(pairs)
    of_pairs = -2 * (pairs - pairs.mean()) / ((n - 1) * (n - 2))
    of_across = -(across - across.mean()) / (n - 1)
    return math.sqrt((n - 1) / n) * (of_pairs - 2 * of_across)
