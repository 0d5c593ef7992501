"""The variance of a reverse step: where it lies between its two limits.

The limits are the variance of the posterior q(x_s | x_t, x_0), v = 0, and that of the forward step q(x_t | x_s), v = 1.
v interpolates between their logarithms (Nichol & Dhariwal 2021, eq. 15).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


class Variance(ABC):
    """Where the variance of a model's reverse steps comes from."""

    is_learned: bool
    """Whether the network has an output for it, of as many channels as an image."""

    @abstractmethod
    def v(self, output: Tensor | None) -> Tensor | float:
        """The v of eq. 15, from the network's output for it, (B, C, H, W), if it has one."""


@dataclass(frozen=True)
class FixedVariance(Variance):
    """The same v for every pixel and step.

    Args:
        value: in [0, 1]: 0 is "small" and 1 "large" of Ho et al. 2020, section 3.2.

    Raises:
        ValueError: `value` is outside [0, 1].
    """

    value: float = 0.0
    is_learned = False

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise ValueError(f"variance.value must lie in [0, 1], not {self.value}")

    def v(self, output: Tensor | None) -> float:
        return self.value


class LearnedRange(Variance):
    """The network's own v for every pixel, from an output that is -1 for v = 0 and 1 for v = 1, and not limited."""

    is_learned = True

    def v(self, output: Tensor | None) -> Tensor:
        assert output is not None
        return (output + 1) / 2


FIXED_SMALL = FixedVariance()
"""The variance of the posterior."""
