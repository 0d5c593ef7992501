"""The denoiser: network, schedule and target as one function of (x_t, t, label)."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.schedule import Schedule, scalar_time
from ddpm_lightning.diffusion.target import Prediction, Target


class DenoiserLike(Protocol):
    """What samplers, pictures and scores see: a denoiser, guided or not."""

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
        """The classes 0..K-1 that it can be asked for are K in number; None if it knows no classes."""
        ...

    @property
    def knows_none(self) -> bool:
        """Whether it has been trained without a label, so that label None means something."""
        ...

    @property
    def evaluations(self) -> int:
        """Network evaluations per call and image."""
        ...

    def describe(self) -> dict[str, Any]:
        """How it is guided, as plain values: a name and the options. For the metric card."""
        ...

    def predicts_at(self, t: float) -> bool:
        """Whether x_0 can be predicted at t: not from predicted noise where x_t holds no signal."""
        ...

    def __call__(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Prediction:
        """x_t: (B, C, H, W); t: (B,), in (0, 1]; label: (B,) of integers, or None for no label."""
        ...


class Denoiser(nn.Module):
    """Estimates x_0 and eps from x_t.

    Args:
        network: called as `network(x, noise_level, label)`. Its attributes `conditioning` and `num_classes` say which
            measure of the noise level it wants, and how many classes it knows (None: it takes no labels).
        schedule: relates t to alpha and sigma.
        target: what the network predicts.
        knows_none: whether a network of classes has been trained without labels too.
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
        """The time, in (0, 1], from which sampling should start."""
        return self.target.default_t_max if self.target.t_max is None else self.target.t_max

    def describe(self) -> dict[str, Any]:
        """A denoiser by itself is not guided."""
        return {"name": "none"}

    def predicts_at(self, t: float) -> bool:
        """Whether x_0 can be predicted at t: not from predicted noise where x_t holds no signal."""
        rates = self.schedule.rates(scalar_time(t, self.schedule.device))
        return bool(self.target.determinant(rates) != 0)

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Prediction:
        """The estimates of x_0 and eps, shaped as x_t, float32.

        x_t: (B, C, H, W); t: (B,), in (0, 1]; label: (B,) of integers in [0, K], where K stands for "no label", or
        None for that.

        Raises:
            ValueError: a label is given to a network without classes.
        """
        rates = self.schedule.rates(t)
        scale = self.target.input_scale(rates).reshape(-1, 1, 1, 1)
        noise_level = self.conditioning.noise_level(self.schedule, t)
        output: Tensor = self.network(scale * x_t, noise_level, self._network_label(label, t))
        with torch.autocast(x_t.device.type, enabled=False):
            return self.target.invert(output.float(), x_t, rates)

    def _network_label(self, label: Tensor | None, t: Tensor) -> Tensor | None:
        """The one encoding that networks see: K for "no label", and None only for a network without classes."""
        if self.num_classes is None:
            if label is not None:
                raise ValueError("this model knows no classes: leave the label out, or train with model.num_classes")
            return None
        return torch.full_like(t, self.num_classes, dtype=torch.long) if label is None else label
