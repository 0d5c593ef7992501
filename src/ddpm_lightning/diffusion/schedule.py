"""Interface of a noise schedule: how much image and how much noise x_t holds at a time t in [0, 1]."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Rates(NamedTuple):
    """alpha and sigma of x_t = alpha x_0 + sigma eps, of equal shape; neither is negative."""

    alpha: Tensor
    sigma: Tensor

    def broadcast_to(self, x: Tensor) -> "Rates":
        """The same rates with trailing axes of size 1, so that (B,) multiplies a tensor of shape (B, ...)."""
        shape = (-1,) + (1,) * (x.dim() - 1)
        return Rates(self.alpha.reshape(shape), self.sigma.reshape(shape))

    def std(self) -> Tensor:
        """Standard deviation of x_t for data of unit variance, sqrt(alpha^2 + sigma^2)."""
        return (self.alpha.square() + self.sigma.square()).sqrt()

    def input_scale(self) -> Tensor:
        """The factor that brings x_t to at most unit variance: 1 on every path but a variance-exploding one."""
        return 1 / self.std().clamp(min=1)


def scalar_time(t: float, device: torch.device) -> Tensor:
    """The time t as a scalar, (), float64, created on the device to avoid a copy and a synchronisation.

    In float64 because coefficients may be differences of nearly equal numbers; a scalar does not promote x_t.
    """
    return torch.full((), t, dtype=torch.float64, device=device)


class Schedule(nn.Module, ABC):
    """A path from the image at t = 0 to (nearly) noise at t = 1: x_t = alpha(t) x_0 + sigma(t) eps.

    The signal-to-noise ratio alpha^2 / sigma^2 never rises with t. alpha^2 + sigma^2 need not be 1.

    Args:
        t_min: the smallest t that training draws, in (0, 1], 1 for a table of a single step. From there on the log SNR
            is finite, except that it may be minus infinity at t = 1.
    """

    def __init__(self, t_min: float) -> None:
        super().__init__()
        if not 0 < t_min <= 1:
            raise ValueError(f"schedule.t_min must be above 0 and at most 1, not {t_min}")
        self.t_min = t_min

    @property
    def device(self) -> torch.device:
        """The device of its tables, on which times should be too; the CPU for a schedule without tables."""
        return next((buffer.device for buffer in self.buffers()), torch.device("cpu"))

    @abstractmethod
    def rates(self, t: Tensor) -> Rates:
        """Alpha and sigma at t in [0, 1]; same shape and dtype as t. At t = 0 they are 1 and 0."""

    @abstractmethod
    def log_snr(self, t: Tensor) -> Tensor:
        """2 log(alpha / sigma) at t in [0, 1]; same shape and dtype as t.

        Infinite at t = 0, and minus infinity where no signal is left.
        """

    @abstractmethod
    def time_of_log_snr(self, log_snr: Tensor) -> Tensor:
        """The t in [t_min, 1] at which the log SNR is nearest to the one asked for; same shape and dtype."""
