"""Timestep laws: from which distribution training draws t."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TimestepLaw(ABC):
    """Draws t in [1/T, 1] for a batch, from uniform numbers given by the caller.

    The law owns no generator: whoever calls it decides what the numbers depend on.

    Args:
        num_steps: T, the number of steps of the schedule.
    """

    num_steps: int

    @abstractmethod
    def __call__(self, own: Tensor, shared: Tensor, slots: Tensor, batch_size: int) -> Tensor:
        """Times for the samples of one batch, or of one device's part of it.

        own: (B,), uniform in [0, 1), one number per sample; shared: (), one number for the whole batch; slots: (B,),
        each sample's place in the whole batch of `batch_size`. Returns t: (B,), in [1/T, 1].
        """


def _stretch(uniform: Tensor, num_steps: int) -> Tensor:
    """[0, 1) onto [1/T, 1), where the log SNR is finite."""
    return 1 / num_steps + uniform * (1 - 1 / num_steps)


class UniformDiscrete(TimestepLaw):
    """The nodes i/T, i = 1..T, all equally likely (Ho et al. 2020, algorithm 1)."""

    def __call__(self, own: Tensor, shared: Tensor, slots: Tensor, batch_size: int) -> Tensor:
        return ((own * self.num_steps).floor().clamp(max=self.num_steps - 1) + 1) / self.num_steps


class UniformContinuous(TimestepLaw):
    """Any time of [1/T, 1], all equally likely."""

    def __call__(self, own: Tensor, shared: Tensor, slots: Tensor, batch_size: int) -> Tensor:
        return _stretch(own, self.num_steps)


class Stratified(TimestepLaw):
    """Uniform over [1/T, 1] for each sample, and evenly spread over the batch (Kingma et al. 2021, appendix I.1).

    One random offset serves the batch and sample i adds i/B, so every batch sees every noise level: the loss varies
    less from batch to batch.
    """

    def __call__(self, own: Tensor, shared: Tensor, slots: Tensor, batch_size: int) -> Tensor:
        return _stretch((shared + slots / batch_size) % 1.0, self.num_steps)
