"""Ancestral sampling on a strided table of betas, with the posterior variance in the place of beta."""

from dataclasses import dataclass

from torch import Tensor

from ddpm_lightning.diffusion.target import Prediction
from ddpm_lightning.samplers.sampler import LoopState, Sampler

MAX_BETA = 0.999
"""Largest share of the variance that a step may remove."""


@dataclass(frozen=True)
class StridedDDPM(Sampler):
    """DDPM's ancestral step with the posterior variance in the place of beta; not exact.

    x_s = (x_t - beta eps / sigma_t) / sqrt(1 - beta) + sqrt(eta beta) z, where alpha^2 + sigma^2 = 1; on another path,
    x is divided by its standard deviation before the step and multiplied by it afterwards.

    - Ho et al. 2020, algorithm 2, have beta = 1 - alpha_t^2 / alpha_s^2. Here it is the variance of their posterior
      (eq. 7), which is smaller, much smaller where s is near 0, so that a step removes less noise. In the last step it
      is 0; that step returns the predicted image, as in every sampler here, instead of x_t with the noise that is left.
    - eta scales the variance of the added noise only. With eta = 0 this is not DDIM (Song et al. 2021, eq. 12): the
      mean stays that of an ancestral step, and samples vary too little. With eta = 1, small steps tend to DDPM's.

    It is in use in introductions to diffusion, and is here to be compared with the exact methods.

    Args:
        eta: in [0, 1]: factor of the variance of the noise that a step adds.

    Raises:
        ValueError: `eta` is outside [0, 1].
    """

    eta: float = 0.1
    name = "strided_ddpm"

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"sampler.eta must lie in [0, 1], not {self.eta}")

    def step(self, x_t: Tensor, t: float, s: float, prediction: Prediction, loop: LoopState) -> Tensor:
        if s == 0:
            return prediction.x_0
        rates_t, std_s = loop.rates(t), loop.rates(s).std()
        std_t = rates_t.std()
        beta = (loop.posterior(t, s).variance / std_s.square()).clamp(max=MAX_BETA)
        x = (x_t / std_t - beta * std_t / rates_t.sigma * prediction.eps) / (1 - beta).sqrt()
        if self.eta > 0:
            x = x + (self.eta * beta).sqrt() * loop.fresh_noise()
        return std_s * x
