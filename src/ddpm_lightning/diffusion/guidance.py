"""Guidance: denoisers made of denoisers."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Prediction

Guidance = Callable[[DenoiserLike], DenoiserLike]
"""Wraps a denoiser in another one."""


class GuidedDenoiser:
    """A denoiser that answers as the one it wraps (see `DenoiserLike`); a guidance overrides what it changes."""

    def __init__(self, denoiser: DenoiserLike) -> None:
        self.denoiser = denoiser

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
        return self.denoiser.describe()

    def predicts_at(self, t: float) -> bool:
        return self.denoiser.predicts_at(t)

    def __call__(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Prediction:
        return self.denoiser(x_t, t, label)


class ClassifierFreeGuidance(GuidedDenoiser):
    """Extrapolates from the unconditional to the conditional prediction (Ho & Salimans 2021, eq. 6).

    Args:
        denoiser: of a network with classes that has been trained without labels too.
        scale: w in (1 - w) unconditional + w conditional, at least 0: 1 leaves the conditional prediction as it is.

    Raises:
        ValueError: the scale is negative, or the denoiser has no classes or has never seen "no label".
    """

    def __init__(self, denoiser: DenoiserLike, scale: float = 2.0) -> None:
        super().__init__(denoiser)
        if not scale >= 0:
            raise ValueError(f"guidance.scale must be at least 0, not {scale}")
        if denoiser.num_classes is None:
            raise ValueError(
                "guidance=classifier_free needs a model of classes: train with model.num_classes set, or take "
                "guidance=none"
            )
        if not denoiser.knows_none:
            raise ValueError(
                "guidance=classifier_free extrapolates from the prediction without a label, which this model was never "
                "trained for (label_dropout=0): train with label_dropout=0.1, or take guidance=none"
            )
        self.scale = scale

    @property
    def evaluations(self) -> int:
        """One with the label and one without, for each of the guided denoiser's."""
        return 2 * self.denoiser.evaluations

    def describe(self) -> dict[str, Any]:
        """Name and scale."""
        return {"name": "classifier_free", "scale": self.scale}

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
