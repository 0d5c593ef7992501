"""What the network predicts and the loss compares: the noise, the image or the velocity.

Each parameterization gives its training target, turns a network's output back into image and noise, and converts a
weighting of the image-space squared error into its own space.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ddpm_lightning.diffusion.schedule import Rates


class Prediction(NamedTuple):
    """Estimates of x_0 and of the noise in x_t, both shaped as x_t, with x_t = signal * image + noise_rate * noise."""

    image: Tensor
    noise: Tensor


def noise_from_image(x_t: Tensor, image: Tensor, rates: Rates) -> Tensor:
    """The noise that makes x_t from this image; undefined where the noise rate is 0."""
    rates = rates.broadcast_to(x_t)
    return (x_t - rates.signal * image) / rates.noise


def image_from_noise(x_t: Tensor, noise: Tensor, rates: Rates) -> Tensor:
    """The image that makes x_t with this noise; errors of the noise grow by noise_rate / signal.

    Undefined where the signal rate is 0.
    """
    rates = rates.broadcast_to(x_t)
    return (x_t - rates.noise * noise) / rates.signal


@dataclass(frozen=True)
class Parameterization(ABC):
    """What a network's output means.

    Args:
        t_max: the largest time, in (0, 1], from which a sampler should start with such a network. Predicted noise
            says little about the image where the signal rate vanishes, so noise models start a little below 1.
    """

    t_max: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.t_max <= 1:
            raise ValueError(f"loss_on.t_max must lie in (0, 1], not {self.t_max}")

    @property
    @abstractmethod
    def name(self) -> str:
        """The word used for it in options and tables."""

    @property
    @abstractmethod
    def needs_signal(self) -> bool:
        """Whether an output gives no image where x_t is noise alone."""

    @abstractmethod
    def target(self, x_0: Tensor, noise: Tensor, rates: Rates) -> Tensor:
        """What the network should output for x_t. x_0, noise: (B, ...); rates: (B,)."""

    @abstractmethod
    def invert(self, output: Tensor, x_t: Tensor, rates: Rates) -> Prediction:
        """Image and noise from the network's output. output, x_t: (B, ...); rates: (B,)."""

    @abstractmethod
    def convert_weight(self, image_weight: Tensor, snr: Tensor) -> Tensor:
        """The weight of this target's squared error that equals `image_weight` on the image's. Both (B,), snr > 0."""


@dataclass(frozen=True)
class Noise(Parameterization):
    """Predict the noise epsilon (Ho et al. 2020, eq. 14)."""

    name = "noise"
    needs_signal = True

    def target(self, x_0: Tensor, noise: Tensor, rates: Rates) -> Tensor:
        return noise

    def invert(self, output: Tensor, x_t: Tensor, rates: Rates) -> Prediction:
        return Prediction(image_from_noise(x_t, output, rates), output)

    def convert_weight(self, image_weight: Tensor, snr: Tensor) -> Tensor:
        return image_weight / snr  # |x_0 - image|^2 = |eps - noise|^2 / SNR


@dataclass(frozen=True)
class Image(Parameterization):
    """Predict the image x_0 itself."""

    name = "image"
    needs_signal = False

    def target(self, x_0: Tensor, noise: Tensor, rates: Rates) -> Tensor:
        return x_0

    def invert(self, output: Tensor, x_t: Tensor, rates: Rates) -> Prediction:
        return Prediction(output, noise_from_image(x_t, output, rates))

    def convert_weight(self, image_weight: Tensor, snr: Tensor) -> Tensor:
        return image_weight


@dataclass(frozen=True)
class Velocity(Parameterization):
    """Predict the velocity v = signal * noise - noise_rate * x_0 (Salimans & Ho 2022, section 4)."""

    name = "velocity"
    needs_signal = False

    def target(self, x_0: Tensor, noise: Tensor, rates: Rates) -> Tensor:
        rates = rates.broadcast_to(x_0)
        return rates.signal * noise - rates.noise * x_0

    def invert(self, output: Tensor, x_t: Tensor, rates: Rates) -> Prediction:
        rates = rates.broadcast_to(x_t)
        return Prediction(rates.signal * x_t - rates.noise * output, rates.noise * x_t + rates.signal * output)

    def convert_weight(self, image_weight: Tensor, snr: Tensor) -> Tensor:
        return image_weight / (snr + 1)  # |x_0 - image|^2 = |v - velocity|^2 / (SNR + 1)
