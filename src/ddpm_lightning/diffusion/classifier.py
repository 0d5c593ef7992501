"""A classifier of noised images: network and schedule as one function of (x_t, t)."""

from torch import Tensor, nn

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.schedule import Schedule


class Classifier(nn.Module):
    """Estimates p(y | x_t).

    Args:
        network: called as `network(x, noise_level)`. Its attribute `conditioning` is the measure of the noise level
            that it wants, and `num_classes` its number of classes.
        schedule: relates t to alpha and sigma.
        sha256: identifies the weights on score cards; None for weights that are still in training.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, sha256: str | None = None) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.sha256 = sha256
        self.conditioning = Conditioning(str(network.conditioning))
        self.num_classes: int = network.num_classes  # type: ignore[assignment]

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The logits of the classes, (B, K), float32. x_t: (B, C, H, W); t: (B,), in (0, 1]."""
        scale = self.schedule.rates(t).input_scale().reshape(-1, 1, 1, 1)
        logits: Tensor = self.network(scale * x_t, self.conditioning.noise_level(self.schedule, t))
        return logits.float()
