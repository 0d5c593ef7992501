"""Precision and recall of generated samples: the share of samples that look real, and of real images that are covered.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models". The manifold of a set
of features is estimated by the union of balls around its members, each as large as the distance to the member's k-th
nearest neighbour in the set.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_lightning.metrics.feature_check import check_features

NEIGHBORHOOD = 3
"""The paper's k, and torch-fidelity's."""

BLOCK_SIZE = 256  # rows compared at a time: their distances to 50,000 samples take 100 MB

ROUNDING = 1e-12
"""A squared distance below this share of the squared lengths counts as 0, because features of one image in different
batches differ by float32 rounding."""


class PrecisionRecall(NamedTuple):
    """Two shares, from 0 to 1; higher is better for both.

    Attributes:
        precision: share of the generated samples that lie on the manifold of the real ones.
        recall: share of the real samples that lie on the manifold of the generated ones.
    """

    precision: float
    recall: float


def precision_recall(real: Tensor, generated: Tensor, neighborhood: int = NEIGHBORHOOD) -> PrecisionRecall:
    """Precision and recall (eq. 2) of real (N, D) and generated (M, D) features, in float64, block by block.

    torch-fidelity's `prc` computes the distances in float32, in which rounding moves copies of one sample, as a
    collapsed model makes them, about 1e-3 of its length apart. Nothing is random. `neighborhood` is the paper's k.

    Raises:
        ValueError: not more samples than neighbours, different D, or features that are not finite.
    """
    check_features(real, generated, minimum=neighborhood + 1)
    return PrecisionRecall(
        precision=_share_on_manifold(generated, real, neighborhood),
        recall=_share_on_manifold(real, generated, neighborhood),
    )


def _share_on_manifold(points: Tensor, members: Tensor, neighborhood: int) -> float:
    """Share of points (N, D) that lie in the ball of at least one of members (M, D): the mean of equation 1."""
    squared_radii = _squared_radii(members, neighborhood)
    inside = []
    for block in points.split(BLOCK_SIZE):
        found = torch.zeros(len(block), dtype=torch.bool, device=block.device)
        for centres, reach in zip(members.split(BLOCK_SIZE), squared_radii.split(BLOCK_SIZE), strict=True):
            found |= (_squared_distances(block, centres) <= reach).any(dim=1)
        inside.append(found)
    return torch.cat(inside).double().mean().item()


def _squared_radii(members: Tensor, neighborhood: int) -> Tensor:
    """Squared distances (M,) float64 of members (M, D) to their `neighborhood`-th nearest neighbour among them."""
    radii = []
    for block in members.split(BLOCK_SIZE):
        distances = torch.cat([_squared_distances(block, others) for others in members.split(BLOCK_SIZE)], dim=1)
        # One more, because each member is among the others at distance 0.
        radii.append(distances.kthvalue(neighborhood + 1, dim=1).values)
    return torch.cat(radii)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2 = |x_i|^2 + |y_j|^2 - 2 x_i.y_j of x (N, D) and y (M, D): (N, M) float64, 0 for copies."""
    x, y = x.double(), y.double()
    squared_lengths = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    distances = squared_lengths - 2 * x @ y.T
    return distances.where(distances > ROUNDING * squared_lengths, 0)
