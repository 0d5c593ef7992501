"""Denoising diffusion implicit models (Song et al. 2021)."""

from dataclasses import dataclass

from torch import Tensor

from ddpm_lightning.diffusion.target import Prediction
from ddpm_lightning.samplers.sampler import LoopState, Sampler


@dataclass(frozen=True)
class DDIM(Sampler):
    """DDIM; with eta = 0 its step is x_s = x_t + (alpha_s - alpha_t) x_0 + (sigma_s - sigma_t) eps.

    That is Euler's method for x / alpha as a function of sigma / alpha (eq. 13 and 14), and on the straight path and
    EDM's for x as a function of t and of sigma.

    Args:
        eta: in [0, 1]: 0 is deterministic, 1 has the variance of DDPM's posterior.

    Raises:
        ValueError: `eta` is outside [0, 1].
    """

    eta: float = 0.0
    name = "ddim"

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"sampler.eta must lie in [0, 1], not {self.eta}")

    def step(self, x_t: Tensor, t: float, s: float, prediction: Prediction, loop: LoopState) -> Tensor:
        alpha_s, sigma_s = loop.rates(s)
        if self.eta == 0 or s == 0:
            return alpha_s * prediction.x_0 + sigma_s * prediction.eps
        std = self.eta * loop.posterior(t, s).variance.sqrt()  # eq. 16
        direction = (sigma_s.square() - std.square()).clamp(min=0).sqrt()
        return alpha_s * prediction.x_0 + direction * prediction.eps + std * loop.fresh_noise()  # eq. 12
