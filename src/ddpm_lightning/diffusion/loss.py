"""Losses per sample: the distance of an estimate from the truth."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F


class Loss(ABC):
    """A distance between output and target, both (B, ...), averaged over all axes but the batch."""

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
class Huber(Loss):
    """Quadratic within `delta` of the target, linear beyond (Huber 1964)."""

    delta: float = 0.1

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ValueError(f"loss.delta must be positive, not {self.delta}")

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(output, target, reduction="none", delta=self.delta).flatten(1).mean(1)
