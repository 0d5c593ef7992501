"""Distributions of the times t that training draws."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddpm_lightning.diffusion.schedule import Schedule


@dataclass(frozen=True)
class TimestepDistribution(ABC):
    """A map from uniform numbers to times in [t_min, 1] of a schedule.

    Draws nothing itself: the caller passes the uniform numbers.

    The trained loss is the mean over `times` of uniform numbers. A distribution that learns from losses may draw other
    times (`proposal`) to estimate it better; `weights` make up for that.

    Args:
        stratified: spread the uniform numbers evenly over the batch (Kingma et al. 2021, appendix I.1). One random
            offset serves the batch and sample i adds i/B, so every batch covers all noise levels, and the loss varies
            less from batch to batch. The distribution of each single sample is unchanged.
    """

    stratified: bool = True

    def __call__(self, schedule: Schedule, uniform: Tensor, offset: Tensor, slots: Tensor, batch_size: int) -> Tensor:
        """Times for the samples of one batch, or of one device's part of it.

        uniform: (B,), in [0, 1), one number per sample; offset: (), in [0, 1), one number for the whole batch; slots:
        (B,), each sample's position in the whole batch of `batch_size`. Returns t: (B,), in [t_min, 1].
        """
        if self.stratified:
            uniform = (offset + slots / batch_size) % 1.0
        return self.times(self.proposal(uniform), schedule)

    @abstractmethod
    def times(self, uniform: Tensor, schedule: Schedule) -> Tensor:
        """The inverse of the cumulative distribution. uniform: (B,), in [0, 1). Returns t: (B,), in [t_min, 1]."""

    def proposal(self, uniform: Tensor) -> Tensor:
        """The numbers whose times training draws, in the order of the uniform ones. (B,) to (B,), both in [0, 1)."""
        return uniform

    def weights(self, t: Tensor) -> Tensor:
        """The probability of drawn times without the proposal, divided by that with it. t: (B,). Returns (B,)."""
        return torch.ones_like(t)

    def record(self, t: Tensor, losses: Tensor) -> None:  # noqa: B027  # most learn nothing
        """Learns from the losses of a whole batch, (B,) each, in the order of its slots, without their weights."""

    @property
    def memory(self) -> nn.Module | None:
        """What is learnt from losses, as buffers of a module, so that checkpoints hold it; None if nothing is."""
        return None

    def check(self, schedule: Schedule) -> None:  # noqa: B027  # most learn nothing
        """Raises ValueError if nothing could be learnt at the times of this schedule."""


def most_nodes(schedule: Schedule) -> int:
    """The largest T for which all nodes i/T, i = 1..T, are times that training draws."""
    return int(1 / schedule.t_min + 1e-6)


@dataclass(frozen=True)
class UniformTimesteps(TimestepDistribution):
    """Times in [t_min, 1), all equally likely."""

    def times(self, uniform: Tensor, schedule: Schedule) -> Tensor:
        # A schedule treats t within float32 rounding of 1 as 1 itself, where a path may have no signal.
        below_1 = max(1 - 2 * torch.finfo(uniform.dtype).eps, schedule.t_min)
        return (schedule.t_min + uniform * (1 - schedule.t_min)).clamp(max=below_1)


@dataclass(frozen=True)
class DiscreteTimesteps(TimestepDistribution):
    """The nodes i/T, i = 1..T, all equally likely (Ho et al. 2020, algorithm 1).

    Args:
        num_steps: T.
    """

    num_steps: int = 1000

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"timesteps.num_steps must be at least 1, not {self.num_steps}")

    def times(self, uniform: Tensor, schedule: Schedule) -> Tensor:
        node = (uniform * self.num_steps).floor().clamp(max=self.num_steps - 1) + 1
        return (node / self.num_steps).clamp(min=schedule.t_min)


def normal_log_ratio_times(uniform: Tensor, schedule: Schedule, mean: float, std: float) -> Tensor:
    """Times at which log(sigma / alpha) = -log SNR / 2 is normal, truncated to [t_min, 1]. (B,) to (B,)."""
    ends = torch.linspace(schedule.t_min, 1, 2, dtype=torch.float64, device=uniform.device)
    low, high = (-schedule.log_snr(ends) / 2 - mean) / std
    # Probabilities near 1 cannot resolve an upper tail, so an interval above the mean is reflected below it. Where
    # probabilities underflow (37 standard deviations), the interval collapses to its end nearest to the mean.
    reflected = low > 0
    low, high = torch.where(reflected, -high, low), torch.where(reflected, -low, high)
    u = torch.where(reflected, 1 - uniform.double(), uniform.double())
    cdf_low, cdf_high = _normal_cdf(low), _normal_cdf(high)
    z = torch.special.ndtri(torch.lerp(cdf_low, cdf_high, u)).clamp(low, high)
    z = torch.where(cdf_high > 0, z, high)
    z = torch.where(reflected, -z, z)
    return schedule.time_of_log_snr(-2 * (mean + std * z)).to(uniform.dtype)


def _normal_cdf(z: Tensor) -> Tensor:
    """Distribution function of the standard normal, accurate below -8, where `torch.special.ndtr` returns 0."""
    return torch.special.erfc(-z / math.sqrt(2)) / 2


def _check_finite(option: str, value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"timesteps.{option} must be finite, not {value}")


@dataclass(frozen=True)
class LogitNormal(TimestepDistribution):
    """t whose logit is normal on the straight path alpha = 1 - t, sigma = t (Esser et al. 2024, section 3.1).

    There the logit is log(sigma / alpha), so on every other schedule it is log(sigma / alpha) that is normal.

    Args:
        location: mean of the logit; above 0 for more noise.
        scale: standard deviation of the logit, above 0.
    """

    location: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check_finite("location", self.location)
        if not self.scale > 0:
            raise ValueError(f"timesteps.scale must be above 0, not {self.scale}")

    def times(self, uniform: Tensor, schedule: Schedule) -> Tensor:
        return normal_log_ratio_times(uniform, schedule, self.location, self.scale)


@dataclass(frozen=True)
class LogNormal(TimestepDistribution):
    """Noise levels whose logarithm is normal, log(sigma) on EDM's path (Karras et al. 2022, table 1).

    On every other schedule it is log(sigma / alpha) that is normal.

    Args:
        p_mean: mean of the logarithm.
        p_std: standard deviation of the logarithm, above 0.
    """

    p_mean: float = -1.2
    p_std: float = 1.2

    def __post_init__(self) -> None:
        _check_finite("p_mean", self.p_mean)
        if not self.p_std > 0:
            raise ValueError(f"timesteps.p_std must be above 0, not {self.p_std}")

    def times(self, uniform: Tensor, schedule: Schedule) -> Tensor:
        return normal_log_ratio_times(uniform, schedule, self.p_mean, self.p_std)
