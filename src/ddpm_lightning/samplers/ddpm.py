"""Ancestral sampling of denoising diffusion probabilistic models (Ho et al. 2020, algorithm 2)."""

from dataclasses import dataclass

from torch import Tensor

from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.target import Prediction
from ddpm_lightning.samplers.sampler import LoopState, Sampler

VARIANCES = {"small": 0.0, "large": 1.0}
"""Name -> v of Nichol & Dhariwal 2021, eq. 15."""
LEARNED = "learned"
"""Name of the model's own v."""


@dataclass(frozen=True)
class DDPM(Sampler):
    """DDPM: draws x_s from the posterior given x_t and the predicted x_0, over any decreasing times that end at 0.

    Args:
        variance: "small", the posterior's; "large", that of the step from x_s to x_t (beta, if the steps are the
            schedule's); a number v in [0, 1] that interpolates between their logarithms (Nichol & Dhariwal 2021,
            eq. 15); or "learned", the model's own v. The last step adds no noise.

    Raises:
        ValueError: `variance` is none of these.
    """

    variance: str | float = "small"
    name = "ddpm"

    def __post_init__(self) -> None:
        if self.variance not in (*VARIANCES, LEARNED) and not (
            type(self.variance) in (int, float) and 0 <= float(self.variance) <= 1
        ):
            raise ValueError(
                "sampler.variance must be small, large, a number from 0 (small) to 1 (large) or learned, not "
                f"{self.variance}"
            )

    @property
    def uses_learned_variance(self) -> bool:
        return self.variance == LEARNED

    def times(self, denoiser: DenoiserLike) -> list[float]:
        if self.uses_learned_variance and not denoiser.learns_variance:
            raise ValueError(
                "sampler.variance=learned needs a model that learns it: train with variance=learned_range, or set "
                "sampler.variance to small or large"
            )
        return super().times(denoiser)

    def step(self, x_t: Tensor, t: float, s: float, prediction: Prediction, loop: LoopState) -> Tensor:
        q = loop.posterior(t, s)
        mean = q.x_0_weight * prediction.x_0 + q.x_t_weight * x_t  # Ho et al. 2020, eq. 7
        if s == 0:
            return mean
        v = self._v(prediction)
        if isinstance(v, Tensor):  # in the logarithm, because v has no limits
            variance = (v * q.step_variance.log() + (1 - v) * q.variance.log()).exp()
        else:
            variance = q.step_variance**v * q.variance ** (1 - v)
        return mean + variance.sqrt() * loop.fresh_noise()

    def _v(self, prediction: Prediction) -> Tensor | float:
        if self.uses_learned_variance:
            assert prediction.v is not None, "checked at the start"
            return prediction.v
        return VARIANCES[self.variance] if isinstance(self.variance, str) else self.variance
