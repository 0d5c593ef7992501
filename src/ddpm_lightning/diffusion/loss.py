"""Losses per sample: the distance of an estimate from the truth."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class BoundPart(NamedTuple):
    """The variational bound as a part of a loss.

    Attributes:
        weight: of the bound in bits per dimension.
        num_steps: T, the number of its steps; times are i/T.
        trains_mean: whether it trains the predicted image too, and there is no distance; else it trains the variance
            alone.
    """

    weight: float
    num_steps: int
    trains_mean: bool


class Loss(ABC):
    """A distance between output and target, both (B, ...), averaged over all axes but the batch."""

    bound_part: BoundPart | None = None
    """The part of the variational bound in the loss, if there is one."""

    @abstractmethod
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Returns (B,), each at least 0."""


class SquaredError(Loss):
    """Mean squared error per sample."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().flatten(1).mean(1)


class AbsoluteError(Loss):
    """Mean absolute error per sample."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs().flatten(1).mean(1)


@dataclass(frozen=True)
class BoundOptions(Loss):
    """The options of losses that have the variational bound.

    Args:
        weight: of the bound, above 0.
        num_steps: T of the bound; training must draw its times from i/T, i = 1..T.

    Raises:
        ValueError: an option is out of range.
    """

    weight: float = 1.0
    num_steps: int = 1000
    trains_mean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ValueError(f"loss.weight must be a finite number above 0, not {self.weight}")
        if self.num_steps < 2:
            raise ValueError(f"loss.num_steps must be at least 2, not {self.num_steps}")

    @property
    def bound_part(self) -> BoundPart:  # type: ignore[override]
        return BoundPart(self.weight, self.num_steps, self.trains_mean)


@dataclass(frozen=True)
class Hybrid(BoundOptions, SquaredError):  # noqa: N818  # the squared error is a loss, no exception
    """L_simple + weight L_vlb, where the bound trains the variance alone (Nichol & Dhariwal 2021, eq. 16)."""

    weight: float = 0.001
    trains_mean = False


@dataclass(frozen=True)
class VLB(BoundOptions):
    """The variational bound in bits per dimension (Ho et al. 2020, eq. 5), without a distance."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return torch.zeros_like(output).flatten(1).mean(1)


@dataclass(frozen=True)
class Huber(Loss):
    """Quadratic within `delta` of the target, linear beyond (Huber 1964)."""

    delta: float = 0.1

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ValueError(f"loss.delta must be positive, not {self.delta}")

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(output, target, reduction="none", delta=self.delta).flatten(1).mean(1)
