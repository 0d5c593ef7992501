"""Time grids: the times at which a sampler takes its steps."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from ddpm_lightning.diffusion.schedule import Schedule

SPACING_FLOOR = -10.0
"""Log SNR from which nodes are spaced if t_max has less signal: below it, predictions hardly depend on x_t."""


@dataclass(frozen=True)
class Grid(ABC):
    """Base class of time grids: decreasing times from t_max to 0 for a number of steps."""

    name: ClassVar[str]
    """Name in options and tables."""

    def __call__(self, schedule: Schedule, steps: int, t_max: float) -> list[float]:
        """The `steps` + 1 times, from exactly t_max down to exactly 0.

        Raises:
            ValueError: `steps` is below 1, t_max is outside (0, 1], or there are too many steps for so short a path.
        """
        if steps < 1:
            raise ValueError(f"sampler.steps must be at least 1, not {steps}")
        if not 0 < t_max <= 1:
            raise ValueError(f"sampler.t_max must lie in (0, 1], not {t_max}")
        times = [t_max, *self.nodes(schedule, steps, t_max)[1:], 0.0]
        if any(t <= s for t, s in pairwise(times)):
            raise ValueError(
                f"grid={self.name} does not have {steps} different times between sampler.t_max={t_max} and the "
                "schedule's least noise: use fewer sampler.steps, a larger sampler.t_max or grid=uniform"
            )
        return times

    @abstractmethod
    def nodes(self, schedule: Schedule, steps: int, t_max: float) -> list[float]:
        """The `steps` times above 0, in decreasing order; the first is replaced by t_max."""


@dataclass(frozen=True)
class UniformGrid(Grid):
    """Times evenly spaced in t, down to 0."""

    name = "uniform"

    def nodes(self, schedule: Schedule, steps: int, t_max: float) -> list[float]:
        if steps > round(1 / schedule.t_min):
            raise ValueError(
                f"sampler.steps={steps} is too many for grid=uniform: a model is trained from t = {schedule.t_min:g} "
                f"on, so use at most {round(1 / schedule.t_min)}, or another grid"
            )
        return [t_max * (steps - i) / steps for i in range(steps)]


@dataclass(frozen=True)
class QuadraticGrid(Grid):
    """Times with evenly spaced square roots, from t_max to the schedule's t_min (Song et al. 2021, appendix D.2)."""

    name = "quadratic"

    def nodes(self, schedule: Schedule, steps: int, t_max: float) -> list[float]:
        last = min(schedule.t_min, t_max)
        start, end = math.sqrt(t_max), math.sqrt(last)
        return [*((start + i * (end - start) / (steps - 1)) ** 2 for i in range(steps - 1)), last]


def _levels(schedule: Schedule, t_max: float) -> tuple[float, float]:
    """Log SNR of the first and of the last node above 0; the last is at t_min, or at t_max if that is less."""
    ends = torch.tensor([t_max, min(schedule.t_min, t_max)], dtype=torch.float64, device=schedule.device)
    start, end = schedule.log_snr(ends).tolist()
    return max(start, min(SPACING_FLOOR, end)), end


def _times(schedule: Schedule, log_snr: Tensor) -> list[float]:
    times: list[float] = schedule.time_of_log_snr(log_snr.to(schedule.device)).tolist()
    return times


@dataclass(frozen=True)
class LogSNRGrid(Grid):
    """Times with evenly spaced log SNR, from t_max to the schedule's t_min (Lu et al. 2022, section 3.2)."""

    name = "log_snr"

    def nodes(self, schedule: Schedule, steps: int, t_max: float) -> list[float]:
        start, end = _levels(schedule, t_max)
        return _times(schedule, torch.linspace(start, end, steps, dtype=torch.float64))


@dataclass(frozen=True)
class KarrasGrid(Grid):
    """Times with evenly spaced (sigma / alpha)^(1/rho), from t_max to the schedule's t_min (Karras et al. 2022, eq. 5).

    Args:
        rho: above 0; larger values give shorter steps near the image.

    Raises:
        ValueError: `rho` is not above 0.
    """

    rho: float = 7.0

    name = "karras"

    def __post_init__(self) -> None:
        if not self.rho > 0:
            raise ValueError(f"grid.rho must be above 0, not {self.rho}")

    def nodes(self, schedule: Schedule, steps: int, t_max: float) -> list[float]:
        start, end = (math.exp(-log_snr / 2 / self.rho) for log_snr in _levels(schedule, t_max))
        roots = torch.linspace(start, end, steps, dtype=torch.float64)
        return _times(schedule, -2 * self.rho * roots.log())
