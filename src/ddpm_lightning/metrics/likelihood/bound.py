"""Bits per dimension by the variational bound, term by term."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddpm_lightning.diffusion.bound import VariationalBound
from ddpm_lightning.diffusion.denoiser import Denoiser, DenoiserLike
from ddpm_lightning.diffusion.forward_process import noise_batch
from ddpm_lightning.diffusion.randomness import Purpose, keyed_normal
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Prediction
from ddpm_lightning.diffusion.timesteps import most_nodes
from ddpm_lightning.metrics.likelihood.images import LabelledImages
from ddpm_lightning.samplers.sampler import clamp
from ddpm_lightning.tracking import advance

Predict = Callable[[Tensor, Tensor, Tensor | None], Prediction]
"""The prediction, with a v unless the likelihood sets it, for x_t at the times t with these labels."""


class BoundTerms(NamedTuple):
    """The terms of the bound for each image, in bits per dimension.

    Attributes:
        prior: L_T, (B,).
        steps: L_0, L_1, ..., L_{T-1}, (B, T): of the steps to t = 0, 1/T, ..., (T - 1)/T.
    """

    prior: Tensor
    steps: Tensor


@dataclass(frozen=True)
class BoundLikelihood:
    """The bound L_T + ... + L_0 on -log2 p per dimension, every term from one draw of x_t (Ho et al. 2020, eq. 5).

    Args:
        num_steps: T, at least 2; the times are i/T. None: as the model's training has it.
        clip: whether the predicted image is clipped to the range of images, as in samplers and in the code of Nichol
            & Dhariwal 2021.
        v: in [0, 1], for the variance of every step (see `Variance`); None for the model's own. For a model that was
            not trained by the bound, no choice is best.

    Raises:
        ValueError: an option is out of range.
    """

    num_steps: int | None = None
    clip: bool = True
    v: float | None = None

    def __post_init__(self) -> None:
        if self.num_steps is not None and self.num_steps < 2:
            raise ValueError(f"metrics.bound.num_steps must be at least 2, not {self.num_steps}")
        if self.v is not None and not 0 <= self.v <= 1:
            raise ValueError(f"metrics.bound.v must lie in [0, 1], not {self.v}")

    def steps(self, schedule: Schedule, own_steps: int) -> int:
        """T: `num_steps`, or else the model's own, as far as its schedule goes down to t = 1/T."""
        return self.num_steps or min(own_steps, most_nodes(schedule))

    def bound(self, denoiser: DenoiserLike, own_steps: int) -> VariationalBound:
        """The bound of this model.

        Raises:
            ValueError: the model has none.
        """
        schedule = denoiser.schedule
        num_steps = self.steps(schedule, own_steps)
        without = "leave the bound out with metrics.bound=null"
        if num_steps > most_nodes(schedule):
            raise ValueError(
                f"metrics.bound.num_steps={num_steps} has steps below t = {schedule.t_min:g}, where this model was "
                f"never trained: take at most {most_nodes(schedule)}"
            )
        if not denoiser.predicts_at(1.0):
            raise ValueError(
                "this model has no variational bound: it predicts noise, which says nothing about the image at t = 1, "
                f"where its schedule leaves no signal: {without}"
            )
        times = torch.arange(num_steps + 1, dtype=torch.float64, device=schedule.device) / num_steps
        try:
            return VariationalBound(schedule, times)
        except ValueError as error:
            raise ValueError(f"{error}; or {without}") from error

    def terms(
        self, bound: VariationalBound, schedule: Schedule, predict: Predict, images: LabelledImages, seed: int
    ) -> BoundTerms:
        """All terms for each image; the noise of a step is a function of (seed, index of the image, step)."""
        x_0, count = images.x_0, len(images.x_0)
        steps = []
        for i, t in enumerate(bound.times[1:].tolist()):
            eps = keyed_normal(seed, Purpose.BOUND_NOISE, images.indices, tuple(x_0.shape[1:]), step=i).to(x_0.dtype)
            noised = noise_batch(schedule, x_0, eps, x_0.new_full((count,), t))
            prediction = predict(noised.x_t, noised.t, images.label)
            if self.clip:
                prediction = prediction._replace(x_0=clamp(prediction.x_0, images.value_range))
            if self.v is not None:
                prediction = prediction._replace(v=self.v)
            step = torch.full((count,), i, device=x_0.device)
            steps.append(bound.term(step, prediction, x_0, noised.x_t, images.value_range).double())
            advance()
        return BoundTerms(bound.prior_term(x_0).double(), torch.stack(steps, dim=1))

    def describe(self, denoiser: Denoiser, own_steps: int) -> dict[str, Any]:
        """Every option as plain values, with what stands for those that are None, for the card."""
        own_v = "learned" if denoiser.learns_variance else denoiser.variance.v(None)
        used = {"num_steps": self.steps(denoiser.schedule, own_steps), "v": own_v if self.v is None else self.v}
        return {"name": "variational bound", "kind": "upper bound", **asdict(self), **used}
