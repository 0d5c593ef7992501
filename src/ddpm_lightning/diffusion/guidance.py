"""Guidance: denoisers that wrap other denoisers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.schedule import Schedule, scalar_time
from ddpm_lightning.diffusion.target import Prediction, eps_from_x_0

Guidance = Callable[[DenoiserLike], DenoiserLike]
"""A function that wraps a denoiser in another one."""


@dataclass(eq=False)
class GuidedDenoiser:
    """A denoiser that delegates to the one it wraps (see `DenoiserLike`).

    A guidance is a dataclass derived from this one: its options are the fields, and it overrides what it changes.
    """

    denoiser: DenoiserLike

    name: ClassVar[str]
    """Its name in options and tables."""

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    @property
    def t_max(self) -> float:
        return self.denoiser.t_max

    @property
    def num_classes(self) -> int | None:
        return self.denoiser.num_classes

    @property
    def knows_none(self) -> bool:
        return self.denoiser.knows_none

    @property
    def learns_variance(self) -> bool:
        return self.denoiser.learns_variance

    def evaluations_at(self, t: float) -> int:
        return self.denoiser.evaluations_at(t)

    def describe(self) -> dict[str, Any]:
        options = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "denoiser"}
        inner = self.denoiser.describe()
        return {"name": self.name, **options, **({} if inner["name"] == "none" else {"of": inner})}

    def predicts_at(self, t: float) -> bool:
        return self.denoiser.predicts_at(t)

    def __call__(
        self, x_t: Tensor, t: Tensor, label: Tensor | None = None, estimate: Tensor | None = None
    ) -> Prediction:
        return self.denoiser(x_t, t, label, estimate)


@dataclass(eq=False, kw_only=True)
class IntervalGuidance(GuidedDenoiser):
    """A guidance that is applied only within an interval of noise levels (Kynkäänniemi et al. 2024).

    Args:
        denoiser: predicts without this guidance.
        level_min: the lowest noise level sigma / alpha (the sigma of that paper) that is guided, at least 0.
        level_max: the highest; None or infinity for no limit.

    Raises:
        ValueError: the interval is empty, or begins below 0.
    """

    level_min: float = 0.0
    level_max: float | None = None

    def __post_init__(self) -> None:
        if not self.level_min >= 0:
            raise ValueError(f"guidance.level_min must be at least 0, not {self.level_min}")
        if self.level_max == math.inf:
            self.level_max = None
        if self.level_max is not None and not self.level_max >= self.level_min:
            raise ValueError(
                f"guidance.level_max={self.level_max} must not be below guidance.level_min={self.level_min}"
            )

    @property
    def has_limits(self) -> bool:
        return self.level_min > 0 or self.level_max is not None

    def guides_at(self, t: Tensor) -> Tensor:
        """Whether predictions at the times t are guided; bool, shaped as t."""
        alpha, sigma = self.schedule.rates(t)
        high = torch.ones_like(t, dtype=torch.bool) if self.level_max is None else sigma <= self.level_max * alpha
        return high & (sigma >= self.level_min * alpha)


@dataclass(eq=False)
class ClassifierFreeGuidance(IntervalGuidance):
    """Extrapolates from the unconditional to the conditional prediction (Ho & Salimans 2021, eq. 6).

    Both come from one call of the denoiser with twice the batch.

    Args:
        denoiser: class-conditional, and also trained without labels.
        scale: 1 + w of eq. 6, at least 0: (1 - scale) unconditional + scale conditional. With 1 the conditional
            prediction is unchanged.
        rescale: phi of Lin et al. 2023, eq. 15 and 16, in [0, 1]: how far the guided image is scaled back, towards the
            middle of its range, to the standard deviation of the conditional one. They rescale the network's output;
            here the image is rescaled, so that the option means the same for every target (with predicted velocity, at
            t = 1, both agree).
        level_min: see `IntervalGuidance`; outside the interval the prediction is the conditional one.
        level_max: see `IntervalGuidance`.

    Raises:
        ValueError: an option is out of range, or the denoiser has no classes or was never trained without labels.
    """

    scale: float = 2.0
    rescale: float = 0.0
    name = "classifier_free"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scale >= 0:
            raise ValueError(f"guidance.scale must be at least 0, not {self.scale}")
        if not 0 <= self.rescale <= 1:
            raise ValueError(f"guidance.rescale must lie in [0, 1], not {self.rescale}")
        if self.denoiser.num_classes is None:
            raise ValueError(
                "guidance=classifier_free needs a class-conditional model: train with model.num_classes set, or use "
                "guidance=none"
            )
        if not self.denoiser.knows_none:
            raise ValueError(
                "guidance=classifier_free extrapolates from the prediction without a label, which this model was never "
                "trained for (label_dropout=0): train with label_dropout=0.1, or use guidance=none"
            )

    @property
    def knows_none(self) -> bool:
        """False, because the conditional prediction needs a label."""
        return False

    def evaluations_at(self, t: float) -> int:
        """Twice those of the wrapped denoiser within the interval: with the label and without."""
        # In float32, as a call has it, so that both decide alike at the limits.
        guides = bool(self.guides_at(scalar_time(t, self.schedule.device).float()))
        return (2 if guides else 1) * self.denoiser.evaluations_at(t)

    def __call__(
        self, x_t: Tensor, t: Tensor, label: Tensor | None = None, estimate: Tensor | None = None
    ) -> Prediction:
        """x_t, estimate: (B, C, H, W); t, label: (B,). Raises ValueError without labels."""
        if label is None:
            raise ValueError("classifier-free guidance needs a label per sample")
        guides = self.guides_at(t)
        if self.has_limits and not guides.any():  # `any` waits for the device
            return self.denoiser(x_t, t, label, estimate)
        none = torch.full_like(label, self.num_classes)  # type: ignore[arg-type]  # checked at the start
        estimates = None if estimate is None else torch.cat([estimate, estimate])
        both = self.denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([label, none]), estimates)
        (x_0_conditional, x_0_unconditional), (eps_conditional, eps_unconditional) = (
            both.x_0.chunk(2),
            both.eps.chunk(2),
        )
        x_0 = torch.lerp(x_0_unconditional, x_0_conditional, self.scale)
        eps = torch.lerp(eps_unconditional, eps_conditional, self.scale)
        if self.rescale > 0:
            x_0 = self._rescaled(x_0, x_0_conditional)
            eps = eps_from_x_0(x_t, x_0, self.schedule.rates(t))
        where = guides[:, None, None, None]
        return Prediction(
            x_0=torch.where(where, x_0, x_0_conditional),
            eps=torch.where(where, eps, eps_conditional),
            v=both.v.chunk(2)[0] if isinstance(both.v, Tensor) else both.v,
        )

    def _rescaled(self, guided: Tensor, conditional: Tensor) -> Tensor:
        """The guided image, scaled back towards the standard deviation of the conditional one."""
        std = _std(guided)
        factor = torch.where(std > 0, _std(conditional) / std, 1.0)
        return torch.lerp(torch.ones_like(factor), factor, self.rescale) * guided


def _std(x: Tensor) -> Tensor:
    """Standard deviation of each image, (B, C, H, W) to (B, 1, 1, 1)."""
    return x.std(dim=(1, 2, 3), correction=0, keepdim=True)


def unguided(denoiser: DenoiserLike) -> DenoiserLike:
    """No guidance: the denoiser itself."""
    return denoiser
