"""Time grids: at which times a sampler takes its steps."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from ddpm_lightning.diffusion.schedule import Schedule

LOWEST_LOG_SNR = -10.0
"""Noise levels above that of t_max are laid out from here on at the lowest: below, a model has nothing to decide."""


@dataclass(frozen=True)
class Grid(ABC):
    """Decreasing times from t_max to 0 for a number of steps."""

    name: ClassVar[str]
    """The word used for it in options and tables."""

    def __call__(self, schedule: Schedule, steps: int, t_max: float) -> list[float]:
        """Steps + 1 times, from exactly t_max down to exactly 0.

        Raises:
            ValueError: `steps` is below 1, t_max outside (0, 1], or there are too many steps for so short a path.
        """
        if steps < 1:
            raise ValueError(f"sampler.steps must be at least 1, not {steps}")
        if not 0 < t_max <= 1:
            raise ValueError(f"sampler.t_max must lie in (0, 1], not {t_max}")
        times = [t_max, *self.inner(schedule, steps, t_max)[1:], 0.0]
        if any(t <= s for t, s in pairwise(times)):
            raise ValueError(
                f"grid={self.name} has no {steps} different times between sampler.t_max={t_max} and the schedule's "
                "least noise: take fewer sampler.steps, a larger sampler.t_max or grid=uniform"
            )
        return times

    @abstractmethod
    def inner(self, schedule: Schedule, steps: int, t_max: float) -> list[float]:
        """The `steps` times above 0; the first one, where sampling starts, is replaced by t_max."""


@dataclass(frozen=True)
class UniformGrid(Grid):
    """Evenly spaced in t."""

    name = "uniform"

    def inner(self, schedule: Schedule, steps: int, t_max: float) -> list[float]:
        return [t_max * (steps - i) / steps for i in range(steps)]


@dataclass(frozen=True)
class QuadraticGrid(Grid):
    """The square root of t is evenly spaced: short steps near the image (Song et al. 2021, appendix D.2)."""

    name = "quadratic"

    def inner(self, schedule: Schedule, steps: int, t_max: float) -> list[float]:
        return [t_max * ((steps - i) / steps) ** 2 for i in range(steps)]


def _levels(schedule: Schedule, t_max: float) -> tuple[float, float]:
    """The log SNR of the first and of the last node above 0, which is at t_min (or below t_max, if that is less)."""
    ends = torch.tensor([t_max, min(schedule.t_min, t_max)], dtype=torch.float64, device=schedule.device)
    start, end = schedule.log_snr(ends).tolist()
    return max(start, min(LOWEST_LOG_SNR, end)), end


def _times(schedule: Schedule, log_snr: Tensor) -> list[float]:
    times: list[float] = schedule.time_of_log_snr(log_snr.to(schedule.device)).tolist()
    return times


@dataclass(frozen=True)
class LogSNRGrid(Grid):
    """The log SNR is evenly spaced, from t_max to the schedule's t_min (Lu et al. 2022, section 3.2)."""

    name = "log_snr"

    def inner(self, schedule: Schedule, steps: int, t_max: float) -> list[float]:
        start, end = _levels(schedule, t_max)
        return _times(schedule, torch.linspace(start, end, steps, dtype=torch.float64))


@dataclass(frozen=True)
class KarrasGrid(Grid):
    """(sigma / alpha)^(1/rho) is evenly spaced, from t_max to the schedule's t_min (Karras et al. 2022, eq. 5).

    Args:
        rho: above 0; the larger, the shorter the steps near the image.
    """

    rho: float = 7.0

    name = "karras"

    def __post_init__(self) -> None:
        if not self.rho > 0:
            raise ValueError(f"grid.rho must be above 0, not {self.rho}")

    def inner(self, schedule: Schedule, steps: int, t_max: float) -> list[float]:
        start, end = (math.exp(-log_snr / 2 / self.rho) for log_snr in _levels(schedule, t_max))
        bent = torch.linspace(start, end, steps, dtype=torch.float64)
        return _times(schedule, -2 * self.rho * bent.log())
