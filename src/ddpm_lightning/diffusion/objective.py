"""The training objective: what is predicted, in which space the loss compares it, and how errors count."""

from dataclasses import dataclass

from torch import Tensor

from ddpm_lightning.diffusion.forward_process import Noised
from ddpm_lightning.diffusion.loss import Loss, SquaredError
from ddpm_lightning.diffusion.target import Target
from ddpm_lightning.diffusion.weighting import Weighting


@dataclass(frozen=True)
class Objective:
    """Weighted loss per sample, in the space of `loss_on`, of a network that outputs `predict`.

    Raises:
        ValueError: if the weighting is one of squared errors and the loss is not the squared error.
    """

    predict: Target
    loss_on: Target
    loss: Loss
    weighting: Weighting

    def __post_init__(self) -> None:
        if self.weighting.needs_squared_error and not isinstance(self.loss, SquaredError):
            raise ValueError(
                f"weighting {type(self.weighting).__name__} is defined on squared errors: converting it between noise, "
                "image and velocity holds only for loss=mse. Take loss=mse or weighting=constant"
            )

    def __call__(self, output: Tensor, noised: Noised) -> Tensor:
        """output: (B, ...), the network's in float32. Returns (B,)."""
        rates = noised.rates
        if self.loss_on == self.predict:  # inverting and converting back would lose precision, or divide by 0
            estimate = output
        else:
            x_0, eps, _ = self.predict.invert(output, noised.x_t, rates)
            estimate = self.loss_on(x_0, eps, rates)
        target = self.loss_on(noised.x_0, noised.eps, rates)
        return self.weighting(rates, self.loss_on) * self.loss(estimate, target)
