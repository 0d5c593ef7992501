"""Loss weights by signal-to-noise ratio."""

import math
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


class SNRWeighting(Weighting):
    """A weighting given by w(SNR) on the squared error of x_0."""

    @abstractmethod
    def of_snr(self, snr: Tensor) -> Tensor:
        """The weight w(SNR), (B,), at least 0."""

    def __call__(self, rates: Rates, loss_on: Target) -> Tensor:
        # Without signal a weight on the noise is 0/0, which must become its limit. (1e-18)^2 is a normal float32.
        rates = Rates(rates.alpha.clamp(min=1e-18), rates.sigma)
        return loss_on.convert_weight(self.of_snr((rates.alpha / rates.sigma).square()), rates)


@dataclass(frozen=True)
class MinSNR(SNRWeighting):
    """min(SNR, gamma) on the squared error of x_0 (Hang et al. 2023, eq. 8 and section 3.4)."""

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ValueError(f"weighting.gamma must be positive, not {self.gamma}")

    def of_snr(self, snr: Tensor) -> Tensor:
        return snr.clamp(max=self.gamma)


@dataclass(frozen=True)
class SNR(SNRWeighting):
    """max(SNR, floor) on the squared error of x_0; "truncated SNR" of Salimans & Ho 2022, section 4, with floor = 1.

    Args:
        floor: smallest weight, at least 0. With 0 it is the SNR itself, which is weight 1 on the noise.
    """

    floor: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.floor < math.inf:
            raise ValueError(f"weighting.floor must be a finite number of at least 0, not {self.floor}")

    def of_snr(self, snr: Tensor) -> Tensor:
        return snr.clamp(min=self.floor)


@dataclass(frozen=True)
class P2(SNRWeighting):
    """1 / (k + SNR)^gamma on the squared error of eps: less weight at low noise levels (Choi et al. 2022, eq. 8).

    On that of x_0 it is SNR / (k + SNR)^gamma.

    Args:
        k: the SNR around which the weight on eps begins to fall, above 0.
        gamma: how fast it falls, at least 0. With 0 the weight on eps is 1.
    """

    k: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.k < math.inf:
            raise ValueError(f"weighting.k must be a finite number above 0, not {self.k}")
        if not 0 <= self.gamma < math.inf:
            raise ValueError(f"weighting.gamma must be a finite number of at least 0, not {self.gamma}")

    def of_snr(self, snr: Tensor) -> Tensor:
        return snr / (self.k + snr) ** self.gamma
