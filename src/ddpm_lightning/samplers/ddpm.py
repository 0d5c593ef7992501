"""Ancestral sampling of denoising diffusion probabilistic models (Ho et al. 2020, algorithm 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
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


def ddpm(
    denoiser: DenoiserLike,
    x: Tensor,
    times: Sequence[float],
    noise: NoiseSource,
    *,
    variance_mix: float = 0.0,
    label: Tensor | None = None,
    clip: ValueRange | None = (-1.0, 1.0),
    callback: TrajectoryCallback | None = None,
) -> Tensor:
    """Draws x_s from the posterior given x_t and the predicted image, over any decreasing times that end at 0.

    `variance_mix` in [0, 1] interpolates the log variance between the posterior's (0, "fixed small") and beta's
    (1, "fixed large"; Nichol & Dhariwal 2021, eq. 15). The last step adds no noise.
    x: (B, C, H, W) at times[0], float32. Returns images shaped as x.
    """
    check_grid(times)
    for step, (t_now, t_next) in enumerate(pairwise(times)):
        prediction = predict(denoiser, x, t_now, label, clip)
        if callback is not None:
            callback(SamplerState(step, t_now, x, prediction))
        t, s = x.new_full((len(x),), t_now), x.new_full((len(x),), t_next)
        shape = (-1,) + (1,) * (x.dim() - 1)
        image_weight, noisy_weight, small = (part.reshape(shape) for part in posterior(denoiser.schedule, t, s))
        x = image_weight * prediction.image + noisy_weight * x
        if t_next > 0:
            log_alpha_bar = denoiser.schedule.log_alpha_bar
            large = (-torch.expm1(log_alpha_bar(t) - log_alpha_bar(s))).to(x.dtype).reshape(shape)
            x = x + (large**variance_mix * small ** (1 - variance_mix)).sqrt() * noise(step)
    return x


@dataclass(frozen=True)
class DDPM(Sampler):
    """Ancestral sampling with a fixed variance, between the posterior's (`variance_mix` 0) and beta's (1)."""

    variance_mix: float = 0.0
    name = "ddpm"

    def __post_init__(self) -> None:
        if not 0 <= self.variance_mix <= 1:
            raise ValueError(f"sampler.variance_mix must lie in [0, 1], not {self.variance_mix}")

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
        return ddpm(
            denoiser, x, times, noise, variance_mix=self.variance_mix, label=label, clip=clip, callback=callback
        )
