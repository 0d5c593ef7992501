"""Ancestral sampling of denoising diffusion probabilistic models (Ho et al. 2020, algorithm 2)."""

from dataclasses import dataclass

from torch import Tensor

from ddpm_lightning.diffusion.target import Prediction
from ddpm_lightning.samplers.sampler import LoopState, Sampler

VARIANCES = {"small": 0.0, "large": 1.0}
"""Name -> v of Nichol & Dhariwal 2021, eq. 15."""


@dataclass(frozen=True)
class DDPM(Sampler):
    """DDPM: draws x_s from the posterior given x_t and the predicted x_0, over any decreasing times that end at 0.

    Args:
        variance: "small", the posterior's; "large", that of the step from x_s to x_t (beta, if the steps are the
            schedule's); or a number v in [0, 1] that interpolates between their logarithms (Nichol & Dhariwal 2021,
            eq. 15). The last step adds no noise.

    Raises:
        ValueError: `variance` is none of these.
    """

    variance: str | float = "small"
    name = "ddpm"

    def __post_init__(self) -> None:
        if self.variance not in VARIANCES and not (
            type(self.variance) in (int, float) and 0 <= float(self.variance) <= 1
        ):
            raise ValueError(
                f"sampler.variance must be small, large or a number from 0 (small) to 1 (large), not {self.variance}"
            )

    def step(self, x_t: Tensor, t: float, s: float, prediction: Prediction, loop: LoopState) -> Tensor:
        q = loop.posterior(t, s)
        mean = q.x_0_weight * prediction.x_0 + q.x_t_weight * x_t  # Ho et al. 2020, eq. 7
        if s == 0:
            return mean
        v = VARIANCES[self.variance] if isinstance(self.variance, str) else self.variance
        variance = q.step_variance**v * q.variance ** (1 - v)
        return mean + variance.sqrt() * loop.fresh_noise()
