"""Heun's method of second order, and its stochastic form (Karras et al. 2022)."""

import math
from dataclasses import dataclass

from torch import Tensor

from ddpm_lightning.diffusion.target import Prediction
from ddpm_lightning.samplers.sampler import LoopState, Sampler


@dataclass(frozen=True)
class Heun(Sampler):
    """Heun's method for the probability-flow ODE (Karras et al. 2022, algorithm 1; with churn, algorithm 2).

    The ODE is dx = x_0 dalpha + eps dsigma. Both integrals are taken by the trapezoidal rule, after an Euler step
    (which is DDIM's), with increments of alpha and sigma instead of derivatives: on EDM's path, where alpha is 1, that
    is their algorithm, and on the straight path it is Heun's method for the velocity eps - x_0. No path divides by
    alpha. The last step, to 0, is Euler's, as theirs.

    Args:
        churn: S_churn, at least 0: how much noise is added before each step, over the whole run. 0 is deterministic.
        churn_min: S_tmin, the least noise level sigma / alpha at which noise is added.
        churn_max: S_tmax, the largest; None for no limit.
        churn_noise: S_noise, the standard deviation of what is added, relative to what the noise level asks for.
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
        if self.churn_max is not None and self.churn_max < self.churn_min:
            raise ValueError(f"sampler.churn_max={self.churn_max} must not be below sampler.churn_min={self.churn_min}")

    @property
    def predictions(self) -> int:
        """Two for each step but the last."""
        return 2 * self.steps - 1

    def perturb(self, x_t: Tensor, t: float, loop: LoopState) -> tuple[Tensor, float]:
        """Algorithm 2, lines 4 to 6: x moved to a higher noise level by the forward process."""
        gamma = min(self.churn / self.steps, math.sqrt(2) - 1)
        if gamma == 0 or t < loop.schedule.t_min:  # below t_min a log SNR has no time
            return x_t, t
        log_snr = loop.schedule.log_snr(loop.time(t))
        level = math.exp(-float(log_snr) / 2)
        if level < self.churn_min or (self.churn_max is not None and level > self.churn_max):
            return x_t, t
        t_hat = float(loop.schedule.time_of_log_snr(log_snr - 2 * math.log1p(gamma)))
        if t_hat <= t:  # at the noisiest end of the path there is no higher level
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
