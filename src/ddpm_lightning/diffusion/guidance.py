"""Guidance: denoisers that wrap other denoisers."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor

from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Prediction

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
    def evaluations(self) -> int:
        return self.denoiser.evaluations

    def describe(self) -> dict[str, Any]:
        options = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "denoiser"}
        inner = self.denoiser.describe()
        return {"name": self.name, **options, **({} if inner["name"] == "none" else {"of": inner})}

    def predicts_at(self, t: float) -> bool:
        return self.denoiser.predicts_at(t)

    def __call__(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Prediction:
        return self.denoiser(x_t, t, label)


@dataclass(eq=False)
class ClassifierFreeGuidance(GuidedDenoiser):
    """Extrapolates from the unconditional to the conditional prediction (Ho & Salimans 2021, eq. 6).

    Args:
        denoiser: class-conditional, and also trained without labels.
        scale: 1 + w of eq. 6, at least 0: (1 - scale) unconditional + scale conditional. With 1 the conditional
            prediction is unchanged.

    Raises:
        ValueError: if the scale is negative, or the denoiser has no classes or was never trained without labels.
    """

    scale: float = 2.0
    name = "classifier_free"

    def __post_init__(self) -> None:
        if not self.scale >= 0:
            raise ValueError(f"guidance.scale must be at least 0, not {self.scale}")
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

    @property
    def evaluations(self) -> int:
        """Twice those of the wrapped denoiser: with the label and without."""
        return 2 * self.denoiser.evaluations

    def __call__(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Prediction:
        """x_t: (B, C, H, W); t: (B,); label: (B,). Raises ValueError without labels."""
        if label is None:
            raise ValueError("classifier-free guidance needs a label per sample")
        conditional, unconditional = self.denoiser(x_t, t, label), self.denoiser(x_t, t, None)
        return Prediction(
            x_0=unconditional.x_0 + self.scale * (conditional.x_0 - unconditional.x_0),
            eps=unconditional.eps + self.scale * (conditional.eps - unconditional.eps),
            log_variance=conditional.log_variance,
        )


def unguided(denoiser: DenoiserLike) -> DenoiserLike:
    """No guidance: the denoiser itself."""
    return denoiser
