"""Denoising diffusion implicit models (Song et al. 2021)."""

from dataclasses import dataclass

from torch import Tensor

from ddpm_lightning.diffusion.target import Prediction
from ddpm_lightning.samplers.sampler import LoopState, Sampler


@dataclass(frozen=True)
class DDIM(Sampler):
    """DDIM; with eta = 0 it is Euler's method for the probability-flow ODE of every path.

    Args:
        eta: in [0, 1]: 0 is deterministic, 1 has the variance of DDPM's posterior.
    """

    eta: float = 0.0
    name = "ddim"

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"sampler.eta must lie in [0, 1], not {self.eta}")

    def step(self, x_t: Tensor, t: float, s: float, prediction: Prediction, loop: LoopState) -> Tensor:
        alpha_s, sigma_s = loop.rates(s)
        sigma = self.eta * loop.posterior(t, s).variance.sqrt()  # eq. 16
        direction = (sigma_s.square() - sigma.square()).clamp(min=0).sqrt()
        x_s = alpha_s * prediction.x_0 + direction * prediction.eps  # eq. 12
        return x_s + sigma * loop.fresh_noise() if self.eta > 0 and s > 0 else x_s
