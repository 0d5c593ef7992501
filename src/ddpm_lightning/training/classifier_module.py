"""The module that learns to classify noised images, for classifier guidance."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.diffusion.classifier import Classifier
from ddpm_lightning.diffusion.forward_process import Noised
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.timesteps import TimestepDistribution
from ddpm_lightning.training.draws import StepDraws
from ddpm_lightning.training.ema import ExponentialMovingAverage
from ddpm_lightning.training.optimizer import AdamW
from ddpm_lightning.training.training_module import TrainingModule


class ClassifierModule(TrainingModule):
    """A LightningModule that trains a network to classify x_t (Dhariwal & Nichol 2021, section 4).

    Args:
        network: `network(x, noise_level)`, with attributes `conditioning` and `num_classes`; it returns logits.
        image_shape: see `TrainingModule`, as for all that is not listed.
        schedule: the noise schedule.

    Raises:
        ValueError: the model does not have these weights.
    """

    measured = ("accuracy",)

    def __init__(
        self,
        network: nn.Module,
        image_shape: tuple[int, int, int],
        num_classes: int,
        schedule: Schedule,
        timesteps: TimestepDistribution,
        optimizer: AdamW,
        ema: Callable[[nn.Module], ExponentialMovingAverage] | None,
        normalizer: Normalizer,
        seed: int = 0,
        flip: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__(network, image_shape, num_classes, timesteps, optimizer, ema, normalizer, seed, flip, weights)
        self.classifier = Classifier(network, schedule)

    @property
    def network(self) -> nn.Module:
        return self.classifier.network

    @property
    def schedule(self) -> Schedule:
        return self.classifier.schedule

    def evaluation_classifier(self) -> Classifier:
        """The classifier with the weights that are validated and that guide."""
        network = self.evaluation_network()
        return self.classifier if network is self.network else Classifier(network, self.schedule)

    def training_loss(self, noised: Noised, labels: Tensor, draws: StepDraws) -> Tensor:
        """The cross-entropy in nats."""
        return F.cross_entropy(self.classifier(noised.x_t, noised.t), labels, reduction="none")

    def validation_loss(self, noised: Noised, labels: Tensor) -> Tensor:
        """The cross-entropy in nats."""
        return F.cross_entropy(self.evaluation_classifier()(noised.x_t, noised.t), labels, reduction="none")

    def measure(self, noised: Noised, labels: Tensor) -> Mapping[str, Tensor]:
        """1 where the most probable class is the label, else 0."""
        logits = self.evaluation_classifier()(noised.x_t, noised.t)
        return {"accuracy": (logits.argmax(1) == labels).float()}
