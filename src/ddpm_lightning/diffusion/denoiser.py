"""The denoiser: network, schedule and parameterization as one function of (x_t, t, label)."""

from typing import Protocol

import torch
from torch import Tensor, nn

from ddpm_lightning.diffusion.conditioning import LOWEST_LOG_SNR, Conditioning
from ddpm_lightning.diffusion.parameterization import Parameterization, Prediction
from ddpm_lightning.diffusion.schedule import Schedule


class DenoiserLike(Protocol):
    """What samplers and guidance see."""

    @property
    def schedule(self) -> Schedule: ...

    @property
    def t_max(self) -> float: ...

    @property
    def needs_signal(self) -> bool: ...

    @property
    def guidance_scale(self) -> float | None: ...

    def __call__(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Prediction: ...


class Denoiser(nn.Module):
    """Estimates the image and the noise in x_t.

    Args:
        network: called as `network(x, noise_level, label)`; its attribute `conditioning` says which measure of the
            noise level it wants.
        schedule: relates t to signal and noise rate.
        parameterization: what the network's output means.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, parameterization: Parameterization) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.parameterization = parameterization
        self.conditioning = Conditioning(str(network.conditioning))

    @property
    def t_max(self) -> float:
        """The time, in (0, 1], from which sampling should start."""
        return self.parameterization.t_max

    @property
    def needs_signal(self) -> bool:
        """Whether no image can be predicted where x_t is noise alone."""
        return self.parameterization.needs_signal

    @property
    def guidance_scale(self) -> float | None:
        """None: a denoiser by itself is not guided."""
        return None

    def output(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The network's raw output in float32, shaped as x_t: what the loss compares with the target."""
        output: Tensor = self.network(x_t, self._noise_level(t), label)
        return output.float()

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Prediction:
        """x_t: (B, C, H, W), about unit variance; t: (B,), in (0, 1]; label: (B,) of integers or None."""
        output = self.output(x_t, t, label)
        with torch.autocast(x_t.device.type, enabled=False):
            return self.parameterization.invert(output, x_t, self.schedule.rates(t))

    def _noise_level(self, t: Tensor) -> Tensor:
        """The measure that the network declares, finite also where no signal is left; t: (B,). Returns its shape."""
        level: Tensor = getattr(self.schedule, self.conditioning.value)(t)
        return level.clamp(min=LOWEST_LOG_SNR) if self.conditioning is Conditioning.LOG_SNR else level
