"""What all samplers share: the time grid, clipping, the noise they are given, the trajectory they report."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.parameterization import Prediction, noise_from_image

NoiseSource = Callable[[int], Tensor]
"""Fresh standard normal noise, shaped as x, for the sampler's step of this number (0, 1, ...)."""

ValueRange = tuple[Tensor | float, Tensor | float]
"""The lowest and highest value of an image inside the model, (-1, 1) by default; broadcastable to (B, C, H, W)."""


class SamplerState(NamedTuple):
    """What a trajectory callback sees at one node of the time grid, before the step away from it."""

    step: int
    t: float
    x_t: Tensor
    prediction: Prediction


TrajectoryCallback = Callable[[SamplerState], None]


def time_grid(steps: int, t_max: float, num_steps: int) -> list[float]:
    """Decreasing times from t_max to 0, evenly spaced: steps + 1 numbers.

    Raises:
        ValueError: if `steps` lies outside 1..num_steps or t_max outside (0, 1].
    """
    if not 1 <= steps <= num_steps:
        raise ValueError(f"sampler.steps must lie in 1..{num_steps} (the schedule's num_steps), not {steps}")
    if not 0 < t_max <= 1:
        raise ValueError(f"sampler.t_max must lie in (0, 1], not {t_max}")
    return [t_max * (steps - i) / steps for i in range(steps + 1)]


def check_grid(times: Sequence[float]) -> None:
    """Raises ValueError unless the times decrease from at most 1 to exactly 0."""
    if len(times) < 2 or times[0] > 1 or times[-1] != 0 or not all(t > s for t, s in pairwise(times)):
        raise ValueError(f"a time grid must decrease from at most 1 to 0, unlike {list(times)}")


def check_start(denoiser: DenoiserLike, t: float) -> None:
    """Raises ValueError if the denoiser predicts no image at t, because x_t is noise alone and it predicts noise."""
    if t == 1 and denoiser.schedule.zero_terminal_snr and denoiser.needs_signal:
        raise ValueError(
            "predicted noise says nothing about the image at t = 1, where schedule.zero_terminal_snr=true leaves no "
            "signal: train with loss_on=velocity or loss_on=image, or let sampling start a little below, with "
            "loss_on.t_max=0.98 or sampler.t_max=0.98"
        )


def clipped(image: Tensor, value_range: ValueRange) -> Tensor:
    """The image, (B, C, H, W), with what lies beyond the range moved to its border."""
    low, high = value_range
    return image.clamp_min(low).clamp_max(high)


def predict(denoiser: DenoiserLike, x_t: Tensor, t: float, label: Tensor | None, clip: ValueRange | None) -> Prediction:
    """The denoiser's prediction in float32, its image clipped to `clip` and its noise then made to fit.

    x_t: (B, C, H, W), all at the time t in (0, 1]; label: (B,) of integers or None.

    Raises:
        ValueError: if no image can be predicted there.
    """
    check_start(denoiser, t)
    times = x_t.new_full((len(x_t),), t)
    image, noise = (part.float() for part in denoiser(x_t, times, label))
    if clip is None:
        return Prediction(image, noise)
    image = clipped(image, clip)
    return Prediction(image, noise_from_image(x_t, image, denoiser.schedule.rates(times)))


@dataclass(frozen=True)
class Sampler(ABC):
    """A sampling method with its options; calling it runs the loop.

    Args:
        steps: network evaluations (two per step under guidance), 1..T.
        t_max: first node of the time grid, in (0, 1]; the denoiser's own if None.
        clip: whether the predicted image is clipped to the value range at every step.
    """

    steps: int
    t_max: float | None = None
    clip: bool = True

    @property
    @abstractmethod
    def name(self) -> str:
        """The word used for it in options and tables."""

    @property
    def eta(self) -> float | None:
        """How much of the noise is drawn afresh, as DDIM counts it; None where the method has no such number."""
        return None

    def times(self, denoiser: DenoiserLike) -> list[float]:
        """The time grid for this denoiser, steps + 1 numbers from t_max down to 0.

        Raises:
            ValueError: if there is no such grid, or no image can be predicted at t_max.
        """
        t_max = denoiser.t_max if self.t_max is None else self.t_max
        check_start(denoiser, t_max)
        return time_grid(self.steps, t_max, denoiser.schedule.num_steps)

    @abstractmethod
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
        """From x at times[0] to x at 0."""

    @torch.no_grad()
    def __call__(
        self,
        denoiser: DenoiserLike,
        x: Tensor,
        noise: NoiseSource,
        label: Tensor | None = None,
        value_range: ValueRange = (-1.0, 1.0),
        callback: TrajectoryCallback | None = None,
    ) -> Tensor:
        """x: (B, C, H, W), standard normal. Returns images shaped as x, float32, about `value_range`."""
        clip = value_range if self.clip else None
        return self.loop(denoiser, x.float(), self.times(denoiser), noise, label, clip, callback)
