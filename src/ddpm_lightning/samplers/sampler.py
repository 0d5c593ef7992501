"""Base class of samplers: the loop, clipping, the source of noise, the callback for trajectories."""

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
from ddpm_lightning.diffusion.target import Prediction, ValueRange, eps_from_x_0
from ddpm_lightning.samplers.grid import Grid, UniformGrid

NoiseSource = Callable[[int], Tensor]
"""Standard normal noise, shaped as x, for the sampler's step 0, 1, ..."""


class SamplerState(NamedTuple):
    """Argument of a trajectory callback: the state at a node of the time grid, before the step from it."""

    step: int
    t: float
    x_t: Tensor
    prediction: Prediction


TrajectoryCallback = Callable[[SamplerState], None]


def clamp(x_0: Tensor, value_range: ValueRange) -> Tensor:
    """The image with every value within the range."""
    low, high = value_range
    return x_0.clamp_min(low).clamp_max(high)  # numbers or tensors, which may not be mixed in one `clamp`


def check_start(denoiser: DenoiserLike, t: float) -> None:
    """Raises ValueError if the denoiser cannot predict x_0 at t, because x_t is pure noise and it predicts noise."""
    if not denoiser.predicts_at(t):
        raise ValueError(
            f"predicted noise says nothing about the image at t = {t:g}, where this schedule leaves no signal: train "
            "with another predict=... (velocity, image), or start sampling a little earlier, with sampler.t_max=0.98"
        )


def predict(
    denoiser: DenoiserLike,
    x_t: Tensor,
    t: float,
    label: Tensor | None,
    estimate: Tensor | None,
    clip: ValueRange | None,
) -> Prediction:
    """The denoiser's prediction in float32, its x_0 clipped to `clip` and eps recomputed from that.

    x_t: (B, C, H, W), all at the time t in (0, 1]; label: (B,) of integers or None; estimate: x_0 of the previous
    prediction, for self-conditioning, or None.
    """
    times = x_t.new_full((len(x_t),), t)
    prediction = denoiser(x_t, times, label, estimate)
    x_0, eps = prediction.x_0.float(), prediction.eps.float()
    if clip is not None:
        x_0 = clamp(x_0, clip)
        eps = eps_from_x_0(x_t, x_0, denoiser.schedule.rates(times))
    return Prediction(x_0, eps, prediction.v)


class Node(NamedTuple):
    """A past node of the time grid, with the prediction there."""

    t: float
    prediction: Prediction


@dataclass
class LoopState:
    """Everything a step may use besides its arguments, and the loop's history.

    Attributes:
        schedule: relates t to alpha and sigma.
        predict: the prediction at (x_t, t), clipped as the loop's own and, for self-conditioning, given the x_0 of the
            call before. Each call costs the denoiser's evaluations.
        noise_source: source of fresh noise.
        device: device of the samples.
        step: number of the current step, from 0.
        history: the last `look_back` nodes before the current one, the latest last.
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
        """Standard normal noise, shaped as x_t; every call within a step returns the same."""
        return self.noise_source(self.step)


@dataclass(frozen=True)
class Sampler(ABC):
    """Base class of sampling methods: a method with its options; calling it runs the loop.

    Args:
        steps: number of steps of the time grid, at least 1.
        grid: spacing of the steps.
        t_max: first node of the time grid, in (0, 1]; None for the denoiser's own.
        clip: True to clip the predicted x_0 to the value range at every step.
    """

    steps: int
    grid: Grid = field(default_factory=UniformGrid)
    t_max: float | None = None
    clip: bool = True

    name: ClassVar[str]
    """Name in options and tables."""
    look_back: ClassVar[int] = 0
    """Number of earlier nodes that the loop's history keeps for a multistep method."""

    @property
    def uses_learned_variance(self) -> bool:
        """Whether its steps have the variance that a model has learned."""
        return False

    def evaluations(self, denoiser: DenoiserLike) -> int:
        """Network evaluations per image (NFE), including those of the guidance."""
        times = self.times(denoiser)
        return sum(denoiser.evaluations_at(t) for t in self.prediction_times(denoiser.schedule, times))

    def prediction_times(self, schedule: Schedule, times: Sequence[float]) -> list[float]:
        """The times of all calls of the denoiser on this time grid, in any order."""
        return list(times[:-1])

    def times(self, denoiser: DenoiserLike) -> list[float]:
        """The time grid for this denoiser, steps + 1 numbers from t_max down to 0.

        Raises:
            ValueError: there is no such grid, or x_0 cannot be predicted at t_max.
        """
        t_max = denoiser.t_max if self.t_max is None else self.t_max
        times = self.grid(denoiser.schedule, self.steps, t_max)
        check_start(denoiser, t_max)
        return times

    def describe(self, denoiser: DenoiserLike) -> dict[str, Any]:
        """Name and every option as plain values, with the t_max used for this denoiser. For the metric card."""
        options = {**asdict(self), "t_max": self.times(denoiser)[0]}
        return {"name": self.name, **options, "grid": {"name": self.grid.name, **options["grid"]}}

    @abstractmethod
    def step(self, x_t: Tensor, t: float, s: float, prediction: Prediction, loop: LoopState) -> Tensor:
        """x_s, (B, C, H, W), from x_t and the prediction there, for s < t; s = 0 in the last step."""

    def perturb(self, x_t: Tensor, t: float, loop: LoopState) -> tuple[Tensor, float]:
        """The x and the time that the step starts from: x_t and t, unless the method adds noise first."""
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
        value_range: ValueRange = (-1.0, 1.0),
    ) -> Tensor:
        """From x at times[0], (B, C, H, W), float32, to x at 0, over any times that decrease to 0.

        An estimate for self-conditioning is always kept within `value_range`, as in training; predictions are within
        `clip`, unless it is None.

        Raises:
            ValueError: the times do not decrease to 0, or x_0 cannot be predicted at the first of them.
        """
        if len(times) < 2 or times[0] > 1 or times[-1] != 0 or not all(t > s for t, s in pairwise(times)):
            raise ValueError(f"a time grid must decrease from at most 1 to 0, but this one is {list(times)}")
        check_start(denoiser, times[0])
        loop = self.begin(denoiser, x.device, noise_source, label, clip, value_range)
        for loop.step, (t, s) in enumerate(pairwise(times)):
            x = self.advance(x, t, s, loop, callback)
        return x

    def begin(
        self,
        denoiser: DenoiserLike,
        device: torch.device,
        noise_source: NoiseSource,
        label: Tensor | None,
        clip: ValueRange | None,
        value_range: ValueRange,
    ) -> LoopState:
        """The state of a loop before its first step; see `loop`."""
        estimate: Tensor | None = None

        def predict_next(x_t: Tensor, t: float) -> Prediction:
            nonlocal estimate
            prediction = predict(denoiser, x_t, t, label, estimate, clip)
            estimate = clamp(prediction.x_0, value_range)
            return prediction

        history: deque[Node] = deque(maxlen=self.look_back)
        return LoopState(denoiser.schedule, predict_next, noise_source, device, history=history)

    def advance(
        self, x: Tensor, t: float, s: float, loop: LoopState, callback: TrajectoryCallback | None = None
    ) -> Tensor:
        """One turn of the loop: from x at t to x at s < t."""
        x_t, t_now = self.perturb(x, t, loop)
        prediction = loop.predict(x_t, t_now)
        if callback is not None:
            callback(SamplerState(loop.step, t_now, x_t, prediction))
        x_s = self.step(x_t, t_now, s, prediction, loop)
        loop.history.append(Node(t_now, prediction))
        return x_s

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
        """x: (B, C, H, W), standard normal. Returns images shaped as x, float32, mostly within `value_range`."""
        start = scalar_time(self.times(denoiser)[0], x.device)
        x = denoiser.schedule.rates(start).std() * x.float()
        return self.finish(denoiser, x, noise_source, label, value_range, callback)

    @torch.no_grad()
    def finish(
        self,
        denoiser: DenoiserLike,
        x: Tensor,
        noise_source: NoiseSource,
        label: Tensor | None = None,
        value_range: ValueRange = (-1.0, 1.0),
        callback: TrajectoryCallback | None = None,
    ) -> Tensor:
        """Images, (B, C, H, W), denoised from x, of the same shape, at t_max, with the schedule's noise level there."""
        clip = value_range if self.clip else None
        return self.loop(denoiser, x, self.times(denoiser), noise_source, label, clip, callback, value_range)
