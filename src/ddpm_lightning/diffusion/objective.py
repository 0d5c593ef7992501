"""The training objective: in which space the loss compares a prediction, and how errors count."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ddpm_lightning.diffusion.bound import VariationalBound
from ddpm_lightning.diffusion.forward_process import Noised
from ddpm_lightning.diffusion.loss import BoundPart, Loss, SquaredError
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Prediction, Target, ValueRange
from ddpm_lightning.diffusion.variance import FIXED_SMALL, Variance
from ddpm_lightning.diffusion.weighting import Constant, Weighting


@dataclass(frozen=True)
class Objective:
    """Weighted loss per sample in the space of `loss_on`, whatever the network predicts; with or without the bound.

    Args:
        loss_on: the space in which the loss compares.
        loss: the distance there.
        weighting: of the distance.
        bound: the variational bound, over as many steps as the loss says; for a loss that has it.

    Raises:
        ValueError: the weighting is meant for squared errors and the loss is not the squared error.
    """

    loss_on: Target
    loss: Loss
    weighting: Weighting
    bound: VariationalBound | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.weighting.needs_squared_error and not isinstance(self.loss, SquaredError):
            raise ValueError(
                f"{type(self.weighting).__name__} weights squared errors of x_0, so it is only meaningful with "
                "loss=mse: use loss=mse or weighting=constant"
            )

    def __call__(self, prediction: Prediction, noised: Noised, value_range: ValueRange = (-1.0, 1.0)) -> Tensor:
        """The loss of each sample, (B,).

        Args:
            prediction: x_0 and eps, (B, ...), in float32, as estimated from `noised.x_t`.
            noised: what the network was given, and what it should have found.
            value_range: the lowest and the highest value of an image, for the bound.
        """
        part = self.loss.bound_part
        if part is not None and part.trains_mean:
            return self._bound(part, prediction, noised, value_range)
        estimate = self.loss_on(prediction.x_0, prediction.eps, noised.rates)
        truth = self.loss_on(noised.x_0, noised.eps, noised.rates)
        distance = self.weighting(noised.rates, self.loss_on) * self.loss(estimate, truth)
        if part is None:
            return distance
        fixed_mean = prediction._replace(x_0=prediction.x_0.detach())
        return distance + self._bound(part, fixed_mean, noised, value_range)

    def _bound(self, part: BoundPart, prediction: Prediction, noised: Noised, value_range: ValueRange) -> Tensor:
        """An unbiased estimate of the bound in bits per dimension from one of its steps, (B,), times its weight."""
        assert self.bound is not None, "`objective_of` makes it"
        step = (noised.t * part.num_steps).round().long() - 1
        term = self.bound.term(step, prediction, noised.x_0, noised.x_t, value_range)
        return part.weight * part.num_steps * term


def objective_of(
    loss_on: Target, loss: Loss, weighting: Weighting, schedule: Schedule, variance: Variance
) -> Objective:
    """The objective, with the bound over the steps of the loss, if it has one.

    Raises:
        ValueError: these do not fit together.
    """
    part = loss.bound_part
    if part is None:
        if variance.is_learned:
            raise ValueError(
                "only the variational bound trains variance=learned_range: set loss=hybrid or loss=vlb as well"
            )
        if variance != FIXED_SMALL:
            raise ValueError(
                "variance=fixed_large is of the variational bound, which this loss lacks: set loss=vlb (for sampling "
                "there is sampler.variance=large)"
            )
        return Objective(loss_on, loss, weighting)
    if not part.trains_mean and not variance.is_learned:
        raise ValueError(
            "loss=hybrid adds the bound to train a variance, which this model does not learn: set "
            "variance=learned_range, or loss=mse or loss=vlb"
        )
    if part.trains_mean and not isinstance(weighting, Constant):
        raise ValueError("the terms of loss=vlb have weights of their own: set weighting=constant")
    times = torch.arange(part.num_steps + 1, dtype=torch.float64) / part.num_steps
    return Objective(loss_on, loss, weighting, VariationalBound(schedule, times))
