"""The Fréchet distance between two sets of features: FID when the features are Inception's.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", eq. 6.
"""

import math

import torch
from torch import Tensor

from ddpm_lightning.metrics.feature_check import check_features


def frechet_distance(real_features: Tensor, generated_features: Tensor) -> float:
    """|m_r - m_g|^2 + tr(C_r + C_g - 2 (C_r C_g)^(1/2)) of the Gaussians fitted to features (N, D) and (M, D).

    With C = F^T F for each set, the trace of the root is the sum of the singular values of F_r F_g^T. This needs no
    matrix root, and stays precise if there are fewer samples than features, so that the covariances do not have full
    rank (1,000 x 2048 is the usual case): roots of the product's eigenvalues would turn a rounding error of 1e-16 into
    1e-8 for each missing rank.

    Raises:
        ValueError: fewer than 2 samples, different D, or features that are not finite.
    """
    check_features(real_features, generated_features)
    mean_difference = real_features.double().mean(dim=0) - generated_features.double().mean(dim=0)
    real, generated = _covariance_factor(real_features), _covariance_factor(generated_features)
    trace_of_root = torch.linalg.svdvals(real @ generated.T).sum()
    distance = mean_difference.square().sum() + real.square().sum() + generated.square().sum() - 2 * trace_of_root
    return float(distance)


def _covariance_factor(features: Tensor) -> Tensor:
    """F with F^T F = covariance: (min(N, D), D) float64."""
    num_samples, num_features = features.shape
    if num_samples <= num_features:
        centred = features.double() - features.double().mean(dim=0)
        return centred / math.sqrt(num_samples - 1)
    eigenvalues, eigenvectors = torch.linalg.eigh(torch.cov(features.double().T))
    factor: Tensor = eigenvalues.clamp(min=0).sqrt()[:, None] * eigenvectors.T
    return factor
