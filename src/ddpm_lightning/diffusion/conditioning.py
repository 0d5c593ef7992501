"""How a network is conditioned on the noise level of its input."""

from enum import StrEnum

from torch import Tensor

from ddpm_lightning.diffusion.schedule import Schedule

CONDITIONING_FLOOR = -20.0
"""Floor of the log SNR given to networks, which is minus infinity where no signal is left."""


class Conditioning(StrEnum):
    """The measures of the noise level from which a network declares the one it wants."""

    TIME = "time"  # t in [0, 1]
    NOISE_VARIANCE = "noise_variance"  # sigma^2 / (alpha^2 + sigma^2), in [0, 1]
    LOG_SNR = "log_snr"  # 2 log(alpha / sigma), about -20 to 14
    C_NOISE = "c_noise"  # log(sigma / alpha) / 4, about -1.5 to 2.5 (Karras et al. 2022, table 1)

    @property
    def span(self) -> float:
        """The approximate range of the measure over all noise levels."""
        return {Conditioning.LOG_SNR: 30.0, Conditioning.C_NOISE: 30.0 / 8}.get(self, 1.0)

    def noise_level(self, schedule: Schedule, t: Tensor) -> Tensor:
        """The measure at the times t, (B,), in (0, 1], as the network receives it. Same shape and dtype as t."""
        if self is Conditioning.TIME:
            return t
        log_snr = schedule.log_snr(t.double())
        if self is Conditioning.NOISE_VARIANCE:
            return (-log_snr).sigmoid().to(t.dtype)
        log_snr = log_snr.clamp(min=CONDITIONING_FLOOR)
        return (log_snr if self is Conditioning.LOG_SNR else -log_snr / 8).to(t.dtype)

    @classmethod
    def _missing_(cls, value: object) -> "Conditioning":
        raise ValueError(f"unknown conditioning {value!r}: choose from {', '.join(cls)}")
