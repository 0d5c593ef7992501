"""The training objective: parameterization, pointwise loss and weighting put together."""

from dataclasses import dataclass

from torch import Tensor

from ddpm_lightning.diffusion.loss import Loss, SquaredError
from ddpm_lightning.diffusion.parameterization import Parameterization
from ddpm_lightning.diffusion.schedule import Rates
from ddpm_lightning.diffusion.weighting import Weighting


@dataclass(frozen=True)
class Objective:
    """Weighted loss per sample in the space of the parameterization's target.

    Raises:
        ValueError: if the weighting is one of squared errors and the loss is not the squared error.
    """

    parameterization: Parameterization
    loss: Loss
    weighting: Weighting

    def __post_init__(self) -> None:
        if self.weighting.needs_squared_error and not isinstance(self.loss, SquaredError):
            raise ValueError(
                f"weighting {type(self.weighting).__name__} is defined on squared errors: converting it between noise, "
                "image and velocity holds only for loss=mse. Take loss=mse or weighting=constant"
            )

    def __call__(self, output: Tensor, x_0: Tensor, noise: Tensor, rates: Rates, log_snr: Tensor) -> Tensor:
        """output, x_0, noise: (B, ...); rates, log_snr: (B,). Returns (B,)."""
        target = self.parameterization.target(x_0, noise, rates)
        return self.weighting(log_snr, self.parameterization) * self.loss(output, target)
