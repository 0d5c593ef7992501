"""The kernel distance between two sets of features: KID when the features are Inception's.

Binkowski et al. 2018, "Demystifying MMD GANs", section 4: the squared maximum mean discrepancy with the kernel
k(x, y) = (x.y / D + 1)^3. Unlike that of FID, the estimate is unbiased: its expectation does not depend on the number
of samples.
"""

import torch
from torch import Tensor

from ddpm_lightning.metrics.feature_check import check_features

BLOCK_SIZE = 1024  # rows of features in float64 at a time; the largest matrix is its square, 8 MB


def kernel_distance(real: Tensor, generated: Tensor) -> float:
    """The unbiased estimate of MMD^2 from all of real (N, D) and generated (M, D); it may be a little below 0.

    mean over i != j of k(x_i, x_j) + the same for y - 2 * mean over i, j of k(x_i, y_j), in float64, block by block.

    Raises:
        ValueError: fewer than 2 samples, different D, or features that are not finite.
    """
    check_features(real, generated)
    across = kernel_sums(real, generated)[0].sum() / (len(real) * len(generated))
    within = [pair_sums(x).sum() / (len(x) * (len(x) - 1)) for x in (real, generated)]
    return (within[0] + within[1] - 2 * across).item()


def kernel_distance_subsets(
    real: Tensor, generated: Tensor, subsets: int, subset_size: int, seed: int
) -> tuple[float, float]:
    """Mean and standard deviation of KID over random subsets, as torch-fidelity and most papers report it.

    Subsets of one data set overlap, so the deviation is not an error bar of the mean; with exactly `subset_size`
    samples all subsets are the same. torch-fidelity draws them from its own generator, seeded with `seed`; global
    generators stay as they are.

    Raises:
        ValueError: fewer samples than `subset_size`, different D, or features that are not finite.
    """
    check_features(real, generated, minimum=subset_size)
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    result = kid_features_to_metric(
        real, generated, kid_subsets=subsets, kid_subset_size=subset_size, rng_seed=seed, verbose=False
    )
    return result[KEY_METRIC_KID_MEAN], result[KEY_METRIC_KID_STD]


def kernel_sums(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of k(x_i, y_j) over j, (N,), and over i, (M,), for x (N, D) and y (M, D); float64."""
    of_x, of_y = x.new_zeros(len(x), dtype=torch.float64), y.new_zeros(len(y), dtype=torch.float64)
    for x_block, x_sums in zip(_blocks(x), _blocks(of_x), strict=True):
        for y_block, y_sums in zip(_blocks(y), _blocks(of_y), strict=True):
            kernel = (x_block.double() @ y_block.double().T / x.shape[1] + 1).pow(3)
            x_sums += kernel.sum(dim=1)
            y_sums += kernel.sum(dim=0)
    return of_x, of_y


def pair_sums(x: Tensor) -> Tensor:
    """Sum of k(x_i, x_j) over j other than i, (N,), for x (N, D); float64."""
    of_itself = [(block.double().square().sum(dim=1) / x.shape[1] + 1).pow(3) for block in _blocks(x)]
    return kernel_sums(x, x)[0] - torch.cat(of_itself)


def _blocks(x: Tensor) -> tuple[Tensor, ...]:
    """Views of BLOCK_SIZE rows each."""
    return torch.split(x, BLOCK_SIZE)
