"""The training objective: in which space the loss compares a prediction, and how errors count."""

from dataclasses import dataclass

from torch import Tensor

from ddpm_lightning.diffusion.forward_process import Noised
from ddpm_lightning.diffusion.loss import Loss, SquaredError
from ddpm_lightning.diffusion.target import Prediction, Target
from ddpm_lightning.diffusion.weighting import Weighting


@dataclass(frozen=True)
class Objective:
    """Weighted loss per sample in the space of `loss_on`, whatever the network predicts.

    Raises:
        ValueError: if the weighting is meant for squared errors and the loss is not the squared error.
    """

    loss_on: Target
    loss: Loss
    weighting: Weighting

    def __post_init__(self) -> None:
        if self.weighting.needs_squared_error and not isinstance(self.loss, SquaredError):
            raise ValueError(
                f"{type(self.weighting).__name__} weights squared errors of x_0, so it is only meaningful with "
                "loss=mse: use loss=mse or weighting=constant"
            )

    def __call__(self, prediction: Prediction, noised: Noised) -> Tensor:
        """prediction: x_0 and eps, (B, ...), in float32, as estimated from `noised.x_t`. Returns (B,)."""
        estimate = self.loss_on(prediction.x_0, prediction.eps, noised.rates)
        truth = self.loss_on(noised.x_0, noised.eps, noised.rates)
        return self.weighting(noised.rates, self.loss_on) * self.loss(estimate, truth)
