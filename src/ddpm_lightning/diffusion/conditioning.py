"""How a network is conditioned on the noise level of its input."""

from enum import StrEnum

LOWEST_LOG_SNR = -20.0
"""The log SNR that conditions a network where less signal is left: without any it would be minus infinity."""


class Conditioning(StrEnum):
    """The measures of noise level that a schedule can answer for a time t; a network declares the one it wants."""

    TIME = "time"  # t in [0, 1]
    NOISE_VARIANCE = "noise_variance"  # 1 - alpha_bar, in [0, 1]
    LOG_SNR = "log_snr"  # log(alpha_bar / (1 - alpha_bar)), about -20 to 10

    @property
    def span(self) -> float:
        """About how far the measure reaches from one end of the noise levels to the other."""
        return 30.0 if self is Conditioning.LOG_SNR else 1.0

    @classmethod
    def _missing_(cls, value: object) -> "Conditioning":
        raise ValueError(f"unknown conditioning {value!r}: choose from {', '.join(cls)}")
