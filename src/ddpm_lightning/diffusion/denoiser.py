"""The denoiser: network, schedule and target as one function of (x_t, t, label)."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.schedule import Schedule, scalar_time
from ddpm_lightning.diffusion.target import Prediction, Target


class DenoiserLike(Protocol):
    """The interface that samplers, pictures and scores use: a denoiser, guided or not."""

    @property
    def schedule(self) -> Schedule:
        """Relates t to alpha and sigma."""
        ...

    @property
    def t_max(self) -> float:
        """The time, in (0, 1], from which sampling should start."""
        ...

    @property
    def num_classes(self) -> int | None:
        """K, the number of classes 0..K-1 that it can be conditioned on; None if it has no classes."""
        ...

    @property
    def knows_none(self) -> bool:
        """Whether it was also trained without labels, so that label None is meaningful."""
        ...

    @property
    def evaluations(self) -> int:
        """Network evaluations per call and image."""
        ...

    def describe(self) -> dict[str, Any]:
        """Its guidance, as plain values: a name and the options. For the metric card."""
        ...

    def predicts_at(self, t: float) -> bool:
        """Whether x_0 can be predicted at t; False for predicted noise where x_t contains no signal."""
        ...

    def __call__(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Prediction:
        """x_t: (B, C, H, W); t: (B,), in (0, 1]; label: (B,) of integers, or None for no label."""
        ...


class Denoiser(nn.Module):
    """Estimates x_0 and eps from x_t (see `DenoiserLike`).

    Args:
        network: called as `network(x, noise_level, label)`. Its attribute `conditioning` is the measure of the noise
            level that it wants, and `num_classes` its number of classes (None: it takes no labels).
        schedule: relates t to alpha and sigma.
        target: what the network predicts.
        knows_none: whether a class-conditional network was also trained without labels.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, target: Target, knows_none: bool = True) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.target = target
        self.knows_none = knows_none
        self.conditioning = Conditioning(str(network.conditioning))
        self.num_classes: int | None = network.num_classes  # type: ignore[assignment]
        self.evaluations = 1

    @property
    def t_max(self) -> float:
        return self.target.default_t_max if self.target.t_max is None else self.target.t_max

    def describe(self) -> dict[str, Any]:
        """The guidance of a plain denoiser: none."""
        return {"name": "none"}

    def predicts_at(self, t: float) -> bool:
        rates = self.schedule.rates(scalar_time(t, self.schedule.device))
        return bool(self.target.determinant(rates) != 0)

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Prediction:
        """The estimates of x_0 and eps, shaped like x_t, float32.

        x_t: (B, C, H, W); t: (B,), in (0, 1]; label: (B,) of integers in [0, K], where K means "no label", or None if
        no sample has one.

        Raises:
            ValueError: if a label is given to a network without classes.
        """
        rates = self.schedule.rates(t)
        scale = self.target.input_scale(rates).reshape(-1, 1, 1, 1)
        noise_level = self.conditioning.noise_level(self.schedule, t)
        output: Tensor = self.network(scale * x_t, noise_level, self._network_label(label, t))
        with torch.autocast(x_t.device.type, enabled=False):
            return self.target.invert(output.float(), x_t, rates)

    def _network_label(self, label: Tensor | None, t: Tensor) -> Tensor | None:
        """The label as networks see it: K for "no label", and None only for a network without classes."""
        if self.num_classes is None:
            if label is not None:
                raise ValueError("this model has no classes: omit the label, or train with model.num_classes set")
            return None
        return torch.full_like(t, self.num_classes, dtype=torch.long) if label is None else label
