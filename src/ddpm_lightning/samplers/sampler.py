"""Base class of samplers: the loop, clipping, the noise they are given, the trajectory they report."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.forward_process import Posterior, posterior
from ddpm_lightning.diffusion.schedule import Rates, Schedule, scalar_time
from ddpm_lightning.diffusion.target import Prediction, eps_from_x_0
from ddpm_lightning.samplers.grid import Grid, UniformGrid

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


def check_times(times: Sequence[float]) -> None:
    """Raises ValueError unless the times decrease from at most 1 to exactly 0."""
    if len(times) < 2 or times[0] > 1 or times[-1] != 0 or not all(t > s for t, s in pairwise(times)):
        raise ValueError(f"a time grid must decrease from at most 1 to 0, unlike {list(times)}")


def check_start(denoiser: DenoiserLike, t: float) -> None:
    """Raises ValueError if the denoiser predicts no image at t, because x_t is noise alone and it predicts noise."""
    if not denoiser.predicts_at(t):
        raise ValueError(
            f"predicted noise says nothing about the image at t = {t:g}, where this schedule leaves no signal: train "
            "with another predict=... (velocity, image), or let sampling start a little below, with sampler.t_max=0.98"
        )


def clipped(x_0: Tensor, value_range: ValueRange) -> Tensor:
    """x_0, (B, C, H, W), with what lies beyond the range moved to its border."""
    low, high = value_range
    return x_0.clamp_min(low).clamp_max(high)


def predict(denoiser: DenoiserLike, x_t: Tensor, t: float, label: Tensor | None, clip: ValueRange | None) -> Prediction:
    """The denoiser's prediction in float32, its x_0 clipped to `clip` and eps recomputed from that.

    x_t: (B, C, H, W), all at the time t in (0, 1]; label: (B,) of integers or None.
    """
    times = x_t.new_full((len(x_t),), t)
    prediction = denoiser(x_t, times, label)
    x_0, eps = prediction.x_0.float(), prediction.eps.float()
    if clip is not None:
        x_0 = clipped(x_0, clip)
        eps = eps_from_x_0(x_t, x_0, denoiser.schedule.rates(times))
    return Prediction(x_0, eps, prediction.log_variance)


class Node(NamedTuple):
    """A node of the time grid that the loop has passed, with the prediction there."""

    t: float
    prediction: Prediction


@dataclass
class LoopState:
    """What a step can ask for, and the loop's memory.

    Attributes:
        schedule: relates t to alpha and sigma.
        predict: the prediction at (x_t, t), clipped as the loop's own are. Each call costs an evaluation.
        noise_source: where fresh noise comes from.
        device: where the samples are.
        step: number of the present step, from 0.
        history: the last nodes before the present one, latest last, as many as the method looks back at.
    """

    schedule: Schedule
    predict: Callable[[Tensor, float], Prediction]
    noise_source: NoiseSource
    device: torch.device
    step: int = 0
    history: deque[Node] = field(default_factory=deque)

    def time(self, t: float) -> Tensor:
        """The time t as a scalar on the samples' device."""
        return scalar_time(t, self.device)

    def rates(self, t: float) -> Rates:
        """Alpha and sigma at t, each (), float64."""
        return self.schedule.rates(self.time(t))

    def posterior(self, t: float, s: float) -> Posterior:
        """q(x_s | x_t, x_0) for s < t, each part (), float64."""
        return posterior(self.schedule, self.time(t), self.time(s))

    def fresh_noise(self) -> Tensor:
        """Standard normal noise, shaped as x_t; the same one at every call within a step."""
        return self.noise_source(self.step)


@dataclass(frozen=True)
class Sampler(ABC):
    """A sampling method with its options; calling it runs the loop.

    Args:
        steps: of the time grid, at least 1.
        grid: where the steps are.
        t_max: first node of the time grid, in (0, 1]; the denoiser's own if None.
        clip: whether the predicted x_0 is clipped to the value range at every step.
    """

    steps: int
    grid: Grid = field(default_factory=UniformGrid)
    t_max: float | None = None
    clip: bool = True

    name: ClassVar[str]
    """The word used for it in options and tables."""
    look_back: ClassVar[int] = 0
    """How many earlier nodes a multistep method finds in the loop's history."""

    @property
    def predictions(self) -> int:
        """Calls of the denoiser per image."""
        return self.steps

    def evaluations(self, denoiser: DenoiserLike) -> int:
        """Network evaluations per image (NFE), the guidance's included."""
        return self.predictions * denoiser.evaluations

    def times(self, denoiser: DenoiserLike) -> list[float]:
        """The time grid for this denoiser, steps + 1 numbers from t_max down to 0.

        Raises:
            ValueError: if there is no such grid, or no image can be predicted at t_max.
        """
        t_max = denoiser.t_max if self.t_max is None else self.t_max
        times = self.grid(denoiser.schedule, self.steps, t_max)
        check_start(denoiser, t_max)
        return times

    def describe(self, denoiser: DenoiserLike) -> dict[str, Any]:
        """Name and every option as plain values, as they are with this denoiser. For the metric card."""
        options = {**asdict(self), "t_max": self.times(denoiser)[0]}
        return {"name": self.name, **options, "grid": {"name": self.grid.name, **options["grid"]}}

    @abstractmethod
    def step(self, x_t: Tensor, t: float, s: float, prediction: Prediction, loop: LoopState) -> Tensor:
        """x_s, (B, C, H, W), from x_t and the prediction there, for s < t; s = 0 in the last step."""

    def perturb(self, x_t: Tensor, t: float, loop: LoopState) -> tuple[Tensor, float]:
        """The x and the time from which the step is taken: x_t and t, unless the method adds noise first."""
        return x_t, t

    def loop(
        self,
        denoiser: DenoiserLike,
        x: Tensor,
        times: Sequence[float],
        noise_source: NoiseSource,
        label: Tensor | None = None,
        clip: ValueRange | None = (-1.0, 1.0),
        callback: TrajectoryCallback | None = None,
    ) -> Tensor:
        """From x at times[0], (B, C, H, W), float32, to x at 0, over any times that decrease to 0.

        Raises:
            ValueError: the times do not, or no image can be predicted at the first of them.
        """
        check_times(times)
        check_start(denoiser, times[0])
        loop = LoopState(
            schedule=denoiser.schedule,
            predict=lambda x_t, t: predict(denoiser, x_t, t, label, clip),
            noise_source=noise_source,
            device=x.device,
            history=deque(maxlen=self.look_back),
        )
        for loop.step, (t, s) in enumerate(pairwise(times)):
            x_t, t_now = self.perturb(x, t, loop)
            prediction = loop.predict(x_t, t_now)
            if callback is not None:
                callback(SamplerState(loop.step, t_now, x_t, prediction))
            x = self.step(x_t, t_now, s, prediction, loop)
            loop.history.append(Node(t_now, prediction))
        return x

    @torch.no_grad()
    def __call__(
        self,
        denoiser: DenoiserLike,
        x: Tensor,
        noise_source: NoiseSource,
        label: Tensor | None = None,
        value_range: ValueRange = (-1.0, 1.0),
        callback: TrajectoryCallback | None = None,
    ) -> Tensor:
        """x: (B, C, H, W), standard normal. Returns images shaped as x, float32, about `value_range`."""
        times = self.times(denoiser)
        x = denoiser.schedule.rates(scalar_time(times[0], x.device)).std() * x.float()
        return self.loop(denoiser, x, times, noise_source, label, value_range if self.clip else None, callback)
