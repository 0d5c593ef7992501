"""The variance-exploding path of EDM."""

import math

import torch
from torch import Tensor

from ddpm_lightning.diffusion.schedule import Rates, Schedule


class EDMSchedule(Schedule):
    """alpha = 1; sigma rises from sigma_min at t_min to sigma_max at t = 1 (Karras et al. 2022, eq. 5).

    Below t_min, where training never draws, sigma falls linearly to 0 at t = 0.

    Args:
        sigma_min: in units of the normalised data, above 0.
        sigma_max: likewise, above sigma_min.
        rho: sigma^(1/rho) is linear in t; None: log sigma is.
        t_min: the time at which sigma is sigma_min, in (0, 1).

    Raises:
        ValueError: unless 0 < sigma_min < sigma_max, rho > 0 and 0 < t_min < 1.
    """

    def __init__(
        self, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float | None = 7.0, t_min: float = 1e-3
    ) -> None:
        super().__init__(t_min)
        if not 0 < sigma_min < sigma_max:
            raise ValueError(
                f"schedule.sigma_min must be above 0 and below schedule.sigma_max, not {sigma_min} and {sigma_max}"
            )
        if rho is not None and not rho > 0:
            raise ValueError(f"schedule.rho must be above 0, or null for a linear log sigma, not {rho}")
        if t_min == 1:
            raise ValueError("schedule.t_min must be below 1, where sigma is schedule.sigma_max")
        self.sigma_min, self.sigma_max, self.rho = sigma_min, sigma_max, rho
        self._start, self._end = self._warped(sigma_min), self._warped(sigma_max)

    def rates(self, t: Tensor) -> Rates:
        return Rates(torch.ones_like(t), self._sigma(t).to(t.dtype))

    def log_snr(self, t: Tensor) -> Tensor:
        return (-2 * self._sigma(t).log()).to(t.dtype)

    def time_of_log_snr(self, log_snr: Tensor) -> Tensor:
        sigma = (-log_snr.double() / 2).exp().clamp(self.sigma_min, self.sigma_max)
        warped = sigma.log() if self.rho is None else sigma ** (1 / self.rho)
        fraction = (warped - self._start) / (self._end - self._start)
        return (self.t_min + fraction * (1 - self.t_min)).clamp(self.t_min, 1).to(log_snr.dtype)

    def _warped(self, sigma: float) -> float:
        """The function of sigma that is linear in t."""
        return math.log(sigma) if self.rho is None else sigma ** (1 / self.rho)

    def _sigma(self, t: Tensor) -> Tensor:
        """Sigma in float64, shaped like t."""
        t = t.double()
        warped = self._start + (t - self.t_min).clamp(min=0) / (1 - self.t_min) * (self._end - self._start)
        sigma = warped.exp() if self.rho is None else warped**self.rho
        return torch.where(t < self.t_min, self.sigma_min * t / self.t_min, sigma)
