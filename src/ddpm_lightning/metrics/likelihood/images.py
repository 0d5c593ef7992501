"""Images whose likelihood is measured, and the units of a likelihood."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_lightning.diffusion.target import ValueRange


class LabelledImages(NamedTuple):
    """Images of a split.

    Attributes:
        x_0: (B, C, H, W), inside the model, each value one of 256 in `value_range`.
        indices: (B,) int64, their indices in the split, which all noise is a function of.
        label: (B,) int64, the class that a model with classes is given; None for one without.
        value_range: the lowest and the highest value of x_0.
    """

    x_0: Tensor
    indices: Tensor
    label: Tensor | None = None
    value_range: ValueRange = (-1.0, 1.0)

    @property
    def bin_width(self) -> Tensor:
        """The distance between neighbours among the 256 values, broadcastable to x_0."""
        low, high = self.value_range
        return torch.as_tensor((high - low) / 255, device=self.x_0.device)


def bits_per_dimension(log_density: Tensor, bin_width: Tensor, shape: tuple[int, ...]) -> Tensor:
    """-log2 p per dimension of images whose values are bins, from the log density of points in these bins.

    log_density: (B,), in nats per image; bin_width: broadcastable to shape, which is (C, H, W). Returns (B,).
    """
    log_volume = bin_width.double().log().expand(shape).mean()
    return -(log_density / math.prod(shape) + log_volume) / math.log(2)


class MeanOfImages(NamedTuple):
    """The mean of a value over images, with its 95 % interval; an interval of one image is NaN."""

    mean: float
    low: float
    high: float


def mean_of_images(values: Tensor) -> MeanOfImages:
    """The mean of values (N,) and the t-interval of their expectation over new images."""
    from scipy import stats

    mean, n = float(values.double().mean()), len(values)
    half_width = float(stats.t.ppf(0.975, n - 1) * values.double().std() / math.sqrt(n)) if n > 1 else math.nan
    return MeanOfImages(mean, mean - half_width, mean + half_width)
