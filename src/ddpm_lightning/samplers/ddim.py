"""Denoising diffusion implicit models (Song et al. 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.forward_process import posterior
from ddpm_lightning.samplers.sampler import (
    NoiseSource,
    Sampler,
    SamplerState,
    TrajectoryCallback,
    ValueRange,
    check_grid,
    predict,
)


def ddim(
    denoiser: DenoiserLike,
    x: Tensor,
    times: Sequence[float],
    noise: NoiseSource,
    *,
    eta: float = 0.0,
    label: Tensor | None = None,
    clip: ValueRange | None = (-1.0, 1.0),
    callback: TrajectoryCallback | None = None,
) -> Tensor:
    """Song et al. 2021, eq. 12, with sigma as in their eq. 16.

    x: (B, C, H, W) at times[0], float32; times decrease to 0. eta = 0 is deterministic, eta = 1 has the variance of
    DDPM's posterior. Returns images shaped as x.
    """
    check_grid(times)
    for step, (t_now, t_next) in enumerate(pairwise(times)):
        prediction = predict(denoiser, x, t_now, label, clip)
        if callback is not None:
            callback(SamplerState(step, t_now, x, prediction))
        t, s = x.new_full((len(x),), t_now), x.new_full((len(x),), t_next)
        # In float64: for eta = 1 and a long step from t = 1 the direction is a difference of nearly equal numbers.
        rates = denoiser.schedule.rates(s.double())
        variance = eta**2 * posterior(denoiser.schedule, t.double(), s.double()).variance
        direction = (rates.noise.square() - variance).clamp(min=0).sqrt()
        shape = (-1,) + (1,) * (x.dim() - 1)
        signal, along, afresh = (part.to(x.dtype).reshape(shape) for part in (rates.signal, direction, variance.sqrt()))
        x = signal * prediction.image + along * prediction.noise
        if eta > 0 and t_next > 0:
            x = x + afresh * noise(step)
    return x


@dataclass(frozen=True)
class DDIM(Sampler):
    """DDIM with `eta` in [0, 1]: 0 deterministic, 1 as random as DDPM."""

    eta: float = 0.0
    name = "ddim"

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"sampler.eta must lie in [0, 1], not {self.eta}")

    def loop(
        self,
        denoiser: DenoiserLike,
        x: Tensor,
        times: Sequence[float],
        noise: NoiseSource,
        label: Tensor | None,
        clip: ValueRange | None,
        callback: TrajectoryCallback | None,
    ) -> Tensor:
        return ddim(denoiser, x, times, noise, eta=self.eta, label=label, clip=clip, callback=callback)
