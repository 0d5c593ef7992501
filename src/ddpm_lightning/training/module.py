"""The module that learns to denoise: its loss on a noised batch, and the errors of its predictions."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.diffusion.denoiser import Denoiser, first_estimate, predict_as_sampled
from ddpm_lightning.diffusion.forward_process import Noised
from ddpm_lightning.diffusion.objective import Objective
from ddpm_lightning.diffusion.randomness import Purpose
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Prediction, Target
from ddpm_lightning.diffusion.timesteps import TimestepDistribution
from ddpm_lightning.diffusion.variance import FIXED_SMALL, Variance
from ddpm_lightning.training.draws import StepDraws
from ddpm_lightning.training.ema import ExponentialMovingAverage
from ddpm_lightning.training.optimizer import AdamW
from ddpm_lightning.training.training_module import TrainingModule

ESTIMATE_PROBABILITY = 0.5
"""With self-conditioning: the probability that a batch is trained with an estimate of x_0 (Chen et al. 2022)."""


class DiffusionModule(TrainingModule):
    """A LightningModule that trains a network to denoise.

    Args:
        network: `network(x, noise_level, label)`, with attributes `conditioning` and `num_classes`.
        image_shape: see `TrainingModule`, as for all that is not listed.
        schedule: the noise schedule.
        target: what the network predicts.
        objective: the space in which the loss compares, and the weight of errors.
        label_dropout: probability, in [0, 1], with which a class label is withheld, for classifier-free guidance.
        self_conditioning: whether the network also takes an earlier estimate of x_0, as additional input channels.
        variance: where the variance of reverse steps comes from.

    Raises:
        ValueError: if label_dropout is not a probability, or the model does not have these weights.
    """

    measured = ("noise_mae", "image_mae")
    """Errors of predictions."""

    def __init__(
        self,
        network: nn.Module,
        image_shape: tuple[int, int, int],
        num_classes: int,
        schedule: Schedule,
        target: Target,
        objective: Objective,
        timesteps: TimestepDistribution,
        optimizer: AdamW,
        ema: Callable[[nn.Module], ExponentialMovingAverage] | None,
        normalizer: Normalizer,
        seed: int = 0,
        flip: bool = False,
        label_dropout: float = 0.1,
        self_conditioning: bool = False,
        variance: Variance = FIXED_SMALL,
        weights: str | None = None,
    ) -> None:
        super().__init__(network, image_shape, num_classes, timesteps, optimizer, ema, normalizer, seed, flip, weights)
        if not 0 <= label_dropout <= 1:
            raise ValueError(f"label_dropout must be a probability from 0 to 1, not {label_dropout}")
        self.denoiser = Denoiser(network, schedule, target, label_dropout > 0, self_conditioning, variance)
        self.objective = objective
        self.label_dropout = label_dropout

    @property
    def network(self) -> nn.Module:
        return self.denoiser.network

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def evaluation_denoiser(self) -> Denoiser:
        """The denoiser with the weights that are validated, sampled from and scored."""
        own, network = self.denoiser, self.evaluation_network()
        if network is own.network:
            return own
        return Denoiser(network, own.schedule, own.target, own.knows_none, own.self_conditioning, own.variance)

    def training_loss(self, noised: Noised, labels: Tensor, draws: StepDraws) -> Tensor:
        label = None
        if self.denoiser.num_classes is not None:
            withheld = draws.uniform(Purpose.LABEL_DROPOUT) < self.label_dropout
            label = torch.where(withheld, self.denoiser.num_classes, labels)
        estimate = None
        if self.denoiser.self_conditioning and draws.happens(Purpose.SELF_CONDITIONING, ESTIMATE_PROBABILITY):
            estimate = first_estimate(self.denoiser, noised.x_t, noised.t, label, self.normalizer.clamp)
        return self.loss(self.denoiser(noised.x_t, noised.t, label, estimate), noised)

    def predict(self, denoiser: Denoiser, x_t: Tensor, t: Tensor, label: Tensor | None) -> Prediction:
        """The prediction as in sampling; with self-conditioning, it costs a second call."""
        return predict_as_sampled(denoiser, x_t, t, label, self.normalizer.clamp)

    def loss(self, prediction: Prediction, noised: Noised) -> Tensor:
        """The objective per sample, (B,)."""
        with torch.autocast(noised.x_t.device.type, enabled=False):
            return self.objective(prediction, noised, self.normalizer.value_range)

    def validation_times(self, spread: Tensor) -> Tensor:
        """As in the base class; of a loss with the variational bound, the times of its steps."""
        if self.objective.bound is None:
            return super().validation_times(spread)
        return self.timesteps.times(spread, self.schedule)

    def validation_loss(self, noised: Noised, labels: Tensor) -> Tensor:
        return self.loss(self._validated(noised, labels), noised)

    def measure(self, noised: Noised, labels: Tensor) -> Mapping[str, Tensor]:
        """The mean absolute errors of the predicted noise and, on the scale of -1 to 1, of the predicted image."""
        return self.errors(self._validated(noised, labels), noised)

    def errors(self, prediction: Prediction, noised: Noised) -> Mapping[str, Tensor]:
        """The errors of each sample by name, (B,); see `measure`."""
        # Clipped as in a sampler: where alpha vanishes, the error of an unclipped x_0 would only show 1 / alpha.
        x_0_error = self.normalizer.clamp(prediction.x_0) - noised.x_0
        low, high = self.normalizer.value_range
        image_error = x_0_error * (2 / (high - low))  # on the scale of -1 to 1 with every normaliser
        errors = (prediction.eps - noised.eps, image_error)
        return {name: error.abs().flatten(1).mean(1) for name, error in zip(self.measured, errors, strict=True)}

    def _validated(self, noised: Noised, labels: Tensor) -> Prediction:
        denoiser = self.evaluation_denoiser()
        return self.predict(denoiser, noised.x_t, noised.t, None if denoiser.num_classes is None else labels)
