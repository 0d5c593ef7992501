"""Heun's method of second order, and its stochastic form (Karras et al. 2022)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ddpm_lightning.diffusion.schedule import Schedule, scalar_time
from ddpm_lightning.diffusion.target import Prediction
from ddpm_lightning.samplers.sampler import LoopState, Sampler


@dataclass(frozen=True)
class Heun(Sampler):
    """Heun's method for the probability-flow ODE (Karras et al. 2022, algorithm 1; with churn, algorithm 2).

    The ODE is dx = x_0 dalpha + eps dsigma. After an Euler step (which is DDIM's), both integrals are computed by the
    trapezoidal rule, with increments of alpha and sigma instead of derivatives: on EDM's path, where alpha is 1, this
    is their algorithm, and on the straight path it is Heun's method for the velocity eps - x_0. It never divides by
    alpha. As in theirs, the last step, to 0, is an Euler step.

    Args:
        churn: S_churn, at least 0: the noise added before steps, summed over the run; 0 is deterministic.
        churn_min: S_tmin, at least 0: the lowest noise level sigma / alpha at which noise is added.
        churn_max: S_tmax, the highest; None for no limit.
        churn_noise: S_noise, at least 0: standard deviation of the added noise, relative to the forward process's.

    Raises:
        ValueError: an option is out of range.
    """

    churn: float = 0.0
    churn_min: float = 0.0
    churn_max: float | None = None
    churn_noise: float = 1.0
    name = "heun"

    def __post_init__(self) -> None:
        if not (self.churn >= 0 and self.churn_noise >= 0):
            raise ValueError(
                f"sampler.churn and sampler.churn_noise must be at least 0, not {self.churn} and {self.churn_noise}"
            )
        if not self.churn_min >= 0:
            raise ValueError(f"sampler.churn_min must be at least 0, not {self.churn_min}")
        if self.churn_max is not None and self.churn_max < self.churn_min:
            raise ValueError(f"sampler.churn_max={self.churn_max} must not be below sampler.churn_min={self.churn_min}")

    def prediction_times(self, schedule: Schedule, times: Sequence[float]) -> list[float]:
        """Both ends of every step, except the end of the last one, 0."""
        return [*(self.raised_time(schedule, t) for t in times[:-1]), *times[1:-1]]

    def raised_time(self, schedule: Schedule, t: float) -> float:
        """The time, at least t, whose noise level is the one that churn raises t's to (algorithm 2, lines 4 and 5)."""
        gamma = min(self.churn / self.steps, math.sqrt(2) - 1)
        if gamma == 0 or t < schedule.t_min:  # below t_min no time corresponds to a log SNR
            return t
        log_snr = schedule.log_snr(scalar_time(t, schedule.device))
        level = math.exp(-float(log_snr) / 2)
        if level < self.churn_min or (self.churn_max is not None and level > self.churn_max):
            return t
        # At the noisiest end of the path there is no higher level.
        return max(t, float(schedule.time_of_log_snr(log_snr - 2 * math.log1p(gamma))))

    def perturb(self, x_t: Tensor, t: float, loop: LoopState) -> tuple[Tensor, float]:
        """The x and time at a higher noise level, by the forward process (algorithm 2, line 6)."""
        t_hat = self.raised_time(loop.schedule, t)
        if t_hat == t:
            return x_t, t
        (alpha_t, sigma_t), (alpha_hat, sigma_hat) = loop.rates(t), loop.rates(t_hat)
        sigma_step = (sigma_hat.square() - (alpha_hat / alpha_t * sigma_t).square()).sqrt()
        return alpha_hat / alpha_t * x_t + self.churn_noise * sigma_step * loop.fresh_noise(), t_hat

    def step(self, x_t: Tensor, t: float, s: float, prediction: Prediction, loop: LoopState) -> Tensor:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = loop.rates(t), loop.rates(s)
        x_s = alpha_s * prediction.x_0 + sigma_s * prediction.eps
        if s == 0:
            return x_s
        corrected = loop.predict(x_s, s)
        x_0, eps = (prediction.x_0 + corrected.x_0) / 2, (prediction.eps + corrected.eps) / 2
        return x_t + (alpha_s - alpha_t) * x_0 + (sigma_s - sigma_t) * eps
