"""How much each noise level counts in the loss."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ddpm_lightning.diffusion.parameterization import Parameterization


class Weighting(ABC):
    """A weight per sample from its signal-to-noise ratio."""

    needs_squared_error: bool = True
    """Whether the weighting is a statement about squared errors, and so means nothing with another loss."""

    @abstractmethod
    def __call__(self, log_snr: Tensor, parameterization: Parameterization) -> Tensor:
        """Weights of the loss in the parameterization's own space.

        log_snr: (B,), below infinity. Returns (B,), at least 0.
        """


class Constant(Weighting):
    """Weight 1 in the space of the target: for noise, the "simple" loss of Ho et al. 2020 (eq. 14)."""

    needs_squared_error = False

    def __call__(self, log_snr: Tensor, parameterization: Parameterization) -> Tensor:
        return torch.ones_like(log_snr)


@dataclass(frozen=True)
class MinSNR(Weighting):
    """min(SNR, gamma) on the image's squared error (Hang et al. 2023, eq. 8 and section 3.4)."""

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if self.gamma <= 0:
            raise ValueError(f"weighting.gamma must be positive, not {self.gamma}")

    def __call__(self, log_snr: Tensor, parameterization: Parameterization) -> Tensor:
        # Without signal the weight on the noise is 0/0, which must become its limit 1.
        snr = log_snr.exp().clamp(min=torch.finfo(log_snr.dtype).tiny)
        return parameterization.convert_weight(snr.clamp(max=self.gamma), snr)
