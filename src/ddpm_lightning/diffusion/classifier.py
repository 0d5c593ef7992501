"""A classifier of noised images: network and schedule as one function of (x_t, t)."""

from typing import NamedTuple

from torch import Tensor, nn

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import ValueRange


class TrainedOn(NamedTuple):
    """The images that a classifier was trained on.

    Attributes:
        image_shape: (C, H, W).
        value_range: the values of the darkest and the brightest pixel, which say how images are normalised.
    """

    image_shape: tuple[int, int, int]
    value_range: ValueRange


class Classifier(nn.Module):
    """Estimates p(y | x_t).

    Args:
        network: called as `network(x, noise_level)`. Its attribute `conditioning` is the measure of the noise level
            that it wants, and `num_classes` its number of classes.
        schedule: relates t to alpha and sigma.
        trained_on: for a check that it guides a model of the same images; None while it is in training.
        weights_hash: identifies the weights on the card of a score; None while it is in training.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        trained_on: TrainedOn | None = None,
        weights_hash: str | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.trained_on = trained_on
        self.weights_hash = weights_hash
        self.conditioning = Conditioning(str(network.conditioning))
        self.num_classes: int = network.num_classes  # type: ignore[assignment]

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The logits of the classes, (B, K), float32. x_t: (B, C, H, W); t: (B,), in (0, 1]."""
        scale = self.schedule.rates(t).input_scale().reshape(-1, 1, 1, 1)
        logits: Tensor = self.network(scale * x_t, self.conditioning.noise_level(self.schedule, t))
        return logits.float()
