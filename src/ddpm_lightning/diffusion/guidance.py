"""Guidance: denoisers made of denoisers."""

from collections.abc import Callable

from torch import Tensor

from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.parameterization import Prediction
from ddpm_lightning.diffusion.schedule import Schedule

Guidance = Callable[[DenoiserLike], DenoiserLike]
"""Wraps a denoiser in another one."""


class ClassifierFreeGuidance:
    """Extrapolates from the unconditional to the conditional prediction (Ho & Salimans 2021, eq. 6).

    `scale` is w in (1 - w) * unconditional + w * conditional: 1 leaves the conditional prediction as it is.
    """

    def __init__(self, denoiser: DenoiserLike, scale: float = 2.0) -> None:
        if scale < 0:
            raise ValueError(f"guidance.scale must be at least 0, not {scale}")
        self.denoiser = denoiser
        self.guidance_scale = scale

    @property
    def schedule(self) -> Schedule:
        """The guided denoiser's schedule."""
        return self.denoiser.schedule

    @property
    def t_max(self) -> float:
        """The time from which sampling should start, as the guided denoiser says."""
        return self.denoiser.t_max

    @property
    def needs_signal(self) -> bool:
        """Whether the guided denoiser predicts no image where x_t is noise alone."""
        return self.denoiser.needs_signal

    def __call__(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Prediction:
        """x_t: (B, C, H, W); t: (B,); label: (B,). Raises ValueError without labels."""
        if label is None:
            raise ValueError("classifier-free guidance needs a label per sample: train with model.num_classes set")
        conditional, unconditional = self.denoiser(x_t, t, label), self.denoiser(x_t, t, None)
        return Prediction(*(u + self.guidance_scale * (c - u) for c, u in zip(conditional, unconditional, strict=True)))


def unguided(denoiser: DenoiserLike) -> DenoiserLike:
    """No guidance: the denoiser itself."""
    return denoiser
