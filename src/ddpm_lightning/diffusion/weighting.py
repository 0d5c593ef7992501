"""Loss weights by signal-to-noise ratio."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ddpm_lightning.diffusion.schedule import Rates
from ddpm_lightning.diffusion.target import Target


class Weighting(ABC):
    """A weight w(SNR) on the squared error of x_0, converted to the space in which the loss compares."""

    needs_squared_error: bool = True
    """Whether the weighting is only meaningful for squared errors."""

    @abstractmethod
    def __call__(self, rates: Rates, loss_on: Target) -> Tensor:
        """Weights of the loss in the space of `loss_on`. rates: (B,), sigma > 0. Returns (B,), at least 0."""


class Constant(Weighting):
    """Weight 1 in the space of the loss: for noise, the "simple" loss of Ho et al. 2020 (eq. 14)."""

    needs_squared_error = False

    def __call__(self, rates: Rates, loss_on: Target) -> Tensor:
        return torch.ones_like(rates.alpha)


@dataclass(frozen=True)
class MinSNR(Weighting):
    """min(SNR, gamma) on the squared error of x_0 (Hang et al. 2023, eq. 8 and section 3.4)."""

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ValueError(f"weighting.gamma must be positive, not {self.gamma}")

    def __call__(self, rates: Rates, loss_on: Target) -> Tensor:
        # Without signal the weight on the noise is 0/0, which must become its limit 1. (1e-18)^2 is a normal float32.
        rates = Rates(rates.alpha.clamp(min=1e-18), rates.sigma)
        snr = (rates.alpha / rates.sigma).square()
        return loss_on.convert_weight(snr.clamp(max=self.gamma), rates)
