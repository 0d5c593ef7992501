"""The denoiser: network, schedule and target as one function of (x_t, t, label, estimate)."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.schedule import Schedule, scalar_time
from ddpm_lightning.diffusion.target import Prediction, Target
from ddpm_lightning.diffusion.variance import FIXED_SMALL, Variance


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
    def learns_variance(self) -> bool:
        """Whether the network has an output for the v of its predictions."""
        ...

    def evaluations_at(self, t: float) -> int:
        """Network evaluations per image that a call at the time t costs."""
        ...

    def describe(self) -> dict[str, Any]:
        """Its guidance, as plain values: a name and the options. For the metric card."""
        ...

    def predicts_at(self, t: float) -> bool:
        """Whether x_0 can be predicted at t; False for predicted noise where x_t contains no signal."""
        ...

    def __call__(
        self, x_t: Tensor, t: Tensor, label: Tensor | None = None, estimate: Tensor | None = None
    ) -> Prediction:
        """The prediction for x_t, (B, C, H, W), at t, (B,), in (0, 1].

        label: (B,) of integers, K for no label, or None if no sample has one; estimate: an earlier prediction of x_0,
        shaped as x_t, for a model with self-conditioning (others ignore it), or None.
        """
        ...


class Denoiser(nn.Module):
    """Estimates x_0 and eps from x_t (see `DenoiserLike`).

    Args:
        network: called as `network(x, noise_level, label)`. Its attribute `conditioning` is the measure of the noise
            level that it wants, and `num_classes` its number of classes (None: it takes no labels).
        schedule: relates t to alpha and sigma.
        target: what the network predicts.
        knows_none: whether a class-conditional network was also trained without labels.
        self_conditioning: whether the network also takes an earlier estimate of x_0, concatenated to x_t along the
            channels (Chen et al. 2022, "Analog Bits", section 3.2).
        variance: where the variance of reverse steps comes from; if it is learned, the network's last output channels,
            as many as an image has, are for it.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        target: Target,
        knows_none: bool = True,
        self_conditioning: bool = False,
        variance: Variance = FIXED_SMALL,
    ) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.target = target
        self.knows_none = knows_none
        self.self_conditioning = self_conditioning
        self.variance = variance
        self.conditioning = Conditioning(str(network.conditioning))
        self.num_classes: int | None = network.num_classes  # type: ignore[assignment]

    @property
    def t_max(self) -> float:
        return self.target.default_t_max if self.target.t_max is None else self.target.t_max

    @property
    def learns_variance(self) -> bool:
        return self.variance.is_learned

    def evaluations_at(self, t: float) -> int:
        return 1

    def describe(self) -> dict[str, Any]:
        """The guidance of a plain denoiser: none."""
        return {"name": "none"}

    def predicts_at(self, t: float) -> bool:
        rates = self.schedule.rates(scalar_time(t, self.schedule.device))
        return bool(self.target.determinant(rates) != 0)

    def forward(
        self, x_t: Tensor, t: Tensor, label: Tensor | None = None, estimate: Tensor | None = None
    ) -> Prediction:
        """The estimates of x_0 and eps, shaped like x_t, float32.

        x_t: (B, C, H, W); t: (B,), in (0, 1]; label: (B,) of integers in [0, K], where K means "no label", or None if
        no sample has one; estimate: (B, C, H, W), an earlier estimate of x_0, used only with self-conditioning; None
        stands for zeros.

        Raises:
            ValueError: if a label is given to a network without classes.
        """
        rates = self.schedule.rates(t)
        scale = self.target.input_scale(rates).reshape(-1, 1, 1, 1)
        noise_level = self.conditioning.noise_level(self.schedule, t)
        x = scale * x_t
        if self.self_conditioning:
            x = torch.cat([x, torch.zeros_like(x) if estimate is None else estimate.to(x.dtype)], dim=1)
        output: Tensor = self.network(x, noise_level, self._network_label(label, t))
        with torch.autocast(x_t.device.type, enabled=False):
            output, of_variance = output.float(), None
            if self.variance.is_learned:
                output, of_variance = output.tensor_split([-x_t.shape[1]], dim=1)
            return self.target.invert(output, x_t, rates)._replace(v=self.variance.v(of_variance))

    def _network_label(self, label: Tensor | None, t: Tensor) -> Tensor | None:
        """The label as networks see it: K for "no label", and None only for a network without classes."""
        if self.num_classes is None:
            if label is not None:
                raise ValueError("this model has no classes: omit the label, or train with model.num_classes set")
            return None
        return torch.full_like(t, self.num_classes, dtype=torch.long) if label is None else label


def first_estimate(
    denoiser: Denoiser, x_t: Tensor, t: Tensor, label: Tensor | None, clamp: Callable[[Tensor], Tensor]
) -> Tensor | None:
    """The denoiser's own estimate of x_0, (B, C, H, W), for self-conditioning where there is no earlier one.

    From a call without an estimate and without gradients, limited by `clamp` as in a sampler. None, without a call, if
    the denoiser has no self-conditioning.
    """
    if not denoiser.self_conditioning:
        return None
    device = x_t.device.type
    # Weights that autocast keeps in low precision from this call would have no gradient in the next one.
    autocast = torch.autocast(
        device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device), cache_enabled=False
    )
    with torch.no_grad(), autocast:
        return clamp(denoiser(x_t, t, label).x_0)


def predict_as_sampled(
    denoiser: Denoiser, x_t: Tensor, t: Tensor, label: Tensor | None, clamp: Callable[[Tensor], Tensor]
) -> Prediction:
    """The prediction as in sampling: with self-conditioning, given the estimate of a first call."""
    return denoiser(x_t, t, label, first_estimate(denoiser, x_t, t, label, clamp))  # type: ignore[no-any-return]
