"""Training targets: the noise, the image or a mixture of both, for the network to predict and the loss to compare.

Each is a x_0 + b eps, with coefficients that depend on alpha and sigma. From x_t = alpha x_0 + sigma eps and such a
mixture both x_0 and eps follow, with the determinant det = alpha b - sigma a (Cramer's rule):

    x_0 = (b x_t - sigma output) / det        eps = (alpha output - a x_t) / det

An error in the output is the error in x_0 times det / sigma; this factor converts weights between spaces.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.schedule import Rates

ValueRange = tuple[Tensor | float, Tensor | float]
"""The lowest and highest value of an image inside the model, (-1, 1) by default; broadcastable to (B, C, H, W)."""


class Prediction(NamedTuple):
    """Estimates of x_0 and eps, both shaped like x_t, with x_t = alpha x_0 + sigma eps.

    v says where the variance of x_s given x_t lies (see `Variance`): shaped as x_t from a network that learns it, or a
    number; None if nothing says.
    """

    x_0: Tensor
    eps: Tensor
    v: Tensor | float | None = None


def eps_from_x_0(x_t: Tensor, x_0: Tensor, rates: Rates) -> Tensor:
    """The eps that turns this x_0 into x_t; undefined where sigma is 0."""
    alpha, sigma = rates.broadcast_to(x_t)
    return (x_t - alpha * x_0) / sigma


def x_0_from_eps(x_t: Tensor, eps: Tensor, rates: Rates) -> Tensor:
    """The x_0 that this eps turns into x_t; undefined where alpha is 0. Errors in eps grow by sigma / alpha."""
    alpha, sigma = rates.broadcast_to(x_t)
    return (x_t - sigma * eps) / alpha


class Coefficients(NamedTuple):
    """a and b of the target a x_0 + b eps, shaped like the rates."""

    a: Tensor
    b: Tensor


@dataclass(frozen=True)
class Target(ABC):
    """A mixture a x_0 + b eps of image and noise.

    Args:
        t_max: the time, in (0, 1], at which a sampler should start if the network predicts this; None for the target's
            default. Predicted noise says little about the image where alpha vanishes, so its default is a little
            below 1.
    """

    # Not compared: two targets are equal if they are the same space, wherever sampling starts.
    t_max: float | None = field(default=None, compare=False, kw_only=True)

    default_t_max: ClassVar[float] = 1.0
    conditioning: ClassVar[Conditioning] = Conditioning.TIME
    """The measure of the noise level that suits a network with this target."""

    def __post_init__(self) -> None:
        if self.t_max is not None and not 0 < self.t_max <= 1:
            raise ValueError(f"t_max of a target must lie in (0, 1], not {self.t_max}")

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in options and tables."""

    @abstractmethod
    def coefficients(self, rates: Rates) -> Coefficients:
        """The coefficients a and b at these rates."""

    def determinant(self, rates: Rates) -> Tensor:
        """The determinant alpha b - sigma a, shaped like the rates; 0 where the target and x_t do not determine x_0."""
        a, b = self.coefficients(rates)
        return rates.alpha * b - rates.sigma * a

    def __call__(self, x_0: Tensor, eps: Tensor, rates: Rates) -> Tensor:
        """The target a x_0 + b eps. x_0, eps: (B, ...); rates: (B,). Returns their shape."""
        a, b = self.coefficients(rates.broadcast_to(x_0))
        return a * x_0 + b * eps

    def invert(self, output: Tensor, x_t: Tensor, rates: Rates) -> Prediction:
        """x_0 and eps from the network's output. output, x_t: (B, ...); rates: (B,).

        The part that the target predicts directly is exact and finite, even where the other is undefined: eps from
        predicted noise where alpha is 0.
        """
        rates = rates.broadcast_to(x_t)
        (alpha, sigma), (a, b), det = rates, self.coefficients(rates), self.determinant(rates)
        return Prediction((b * x_t - sigma * output) / det, (alpha * output - a * x_t) / det)

    def convert_weight(self, weight: Tensor, rates: Rates) -> Tensor:
        """The weight on this target's squared error that is equivalent to `weight` on that of x_0, all (B,)."""
        return weight * (rates.sigma / self.determinant(rates)).square()

    def input_scale(self, rates: Rates) -> Tensor:
        """The factor on x_t before a network sees it (c_in of Karras et al. 2022), shaped like the rates."""
        return rates.input_scale()

    def output_channels(self, channels: int) -> int:
        """The number of output channels of the network for images with this many channels."""
        return channels


@dataclass(frozen=True)
class Noise(Target):
    """eps itself (Ho et al. 2020, eq. 14)."""

    name = "noise"
    default_t_max = 0.98

    def coefficients(self, rates: Rates) -> Coefficients:
        return Coefficients(torch.zeros_like(rates.alpha), torch.ones_like(rates.alpha))

    def __call__(self, x_0: Tensor, eps: Tensor, rates: Rates) -> Tensor:
        return eps

    def invert(self, output: Tensor, x_t: Tensor, rates: Rates) -> Prediction:
        return Prediction(x_0_from_eps(x_t, output, rates), output)


@dataclass(frozen=True)
class Image(Target):
    """x_0 itself."""

    name = "image"

    def coefficients(self, rates: Rates) -> Coefficients:
        return Coefficients(torch.ones_like(rates.alpha), torch.zeros_like(rates.alpha))

    def __call__(self, x_0: Tensor, eps: Tensor, rates: Rates) -> Tensor:
        return x_0

    def invert(self, output: Tensor, x_t: Tensor, rates: Rates) -> Prediction:
        return Prediction(output, eps_from_x_0(x_t, output, rates))

    def convert_weight(self, weight: Tensor, rates: Rates) -> Tensor:
        return weight


@dataclass(frozen=True)
class Velocity(Target):
    """v = alpha eps - sigma x_0 (Salimans & Ho 2022, section 4)."""

    name = "velocity"
    default_t_max = 0.999

    def coefficients(self, rates: Rates) -> Coefficients:
        return Coefficients(-rates.sigma, rates.alpha)


@dataclass(frozen=True)
class Flow(Target):
    """u = eps - x_0, the velocity of the straight path (Lipman et al. 2023; Liu et al. 2023)."""

    name = "flow"

    def coefficients(self, rates: Rates) -> Coefficients:
        one = torch.ones_like(rates.alpha)
        return Coefficients(-one, one)


@dataclass(frozen=True)
class EDM(Target):
    """F of EDM's preconditioning x_0 = c_skip x_t + c_out F(c_in x_t, c_noise) (Karras et al. 2022, table 1).

    Their derivation (appendix B.6: input and target of unit variance, errors amplified as little as possible),
    generalised to any alpha, with n = sqrt(alpha^2 sigma_data^2 + sigma^2):

        c_skip = alpha sigma_data^2 / n^2   c_out = sigma sigma_data / n   c_in = 1 / n   c_noise = log(sigma/alpha)/4

    Solved for F this is (sigma / sigma_data x_0 - alpha sigma_data eps) / n. Weight 1 on F is their lambda(sigma) =
    1 / c_out^2 on x_0.

    Args:
        sigma_data: standard deviation of the normalised data, above 0.
    """

    sigma_data: float = 0.5

    name = "edm"
    conditioning = Conditioning.C_NOISE

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sigma_data > 0:
            raise ValueError(f"sigma_data of predict=edm and loss_on=edm must be above 0, not {self.sigma_data}")

    def _n(self, rates: Rates) -> Tensor:
        return (rates.alpha.square() * self.sigma_data**2 + rates.sigma.square()).sqrt()

    def coefficients(self, rates: Rates) -> Coefficients:
        n = self._n(rates)
        return Coefficients(rates.sigma / (self.sigma_data * n), -rates.alpha * self.sigma_data / n)

    def input_scale(self, rates: Rates) -> Tensor:
        return 1 / self._n(rates)
