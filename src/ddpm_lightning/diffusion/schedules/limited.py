"""Schedules whose alpha stays between two limits, as in continuous-time DDIM.

From t = 1/T to 1, alpha (the signal rate of Béres's Keras example "Denoising Diffusion Implicit Models") lies between
the two limits; at t = 0 it is 1, as in every schedule. So an image can be computed from predicted noise even at t = 1,
and a sampler's last step returns its last predicted image, as in that example.
Zero terminal SNR would contradict the lower limit, so these schedules have no such option.
"""

import math

import torch
from torch import Tensor

from ddpm_lightning.diffusion.schedules.discrete import DiscreteSchedule, check_num_steps
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule


class LimitedCosineSchedule(DiscreteSchedule):
    """A schedule whose angle arccos(alpha) rises linearly in t, from acos(max) just after t = 0 to acos(min) at t = 1.

    This is `diffusion_schedule` in Béres's Keras example. The angle is exact at the nodes i/T, i = 1..T, so at t = 1/T
    it has already gone 1/T of the way from acos(max_signal_rate).

    Raises:
        ValueError: unless 0 < min_signal_rate < max_signal_rate < 1 and num_steps is at least 1.
    """

    def __init__(self, num_steps: int = 1000, min_signal_rate: float = 0.02, max_signal_rate: float = 0.95) -> None:
        check_num_steps(num_steps)
        _check_limits(min_signal_rate, max_signal_rate)
        start, end = math.acos(max_signal_rate), math.acos(min_signal_rate)
        t = torch.arange(1, num_steps + 1, dtype=torch.float64) / num_steps
        super().__init__(_betas_of_alpha((start + t * (end - start)).cos()))


class LimitedLinearSchedule(DiscreteSchedule):
    """`LinearSchedule` with alpha clipped to the limits, so that it has a plateau at both ends.

    Falbel's R code (dfalbel/denoising-diffusion) clips alpha_bar, not alpha, to what it calls signal rates, 0.02 and
    0.95: here that is min_signal_rate = 0.1414 and max_signal_rate = 0.9747.

    Raises:
        ValueError: unless 0 < min_signal_rate < max_signal_rate < 1; for num_steps, beta_start and beta_end, as in
            `LinearSchedule`.
    """

    def __init__(
        self,
        num_steps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        scale_betas: bool = True,
        min_signal_rate: float = 0.02,
        max_signal_rate: float = 0.95,
    ) -> None:
        _check_limits(min_signal_rate, max_signal_rate)
        linear = LinearSchedule(num_steps, beta_start, beta_end, scale_betas)
        alpha = (linear.log_alpha_bar_nodes[1:] / 2).exp()
        super().__init__(_betas_of_alpha(alpha.clamp(min_signal_rate, max_signal_rate)))


def _check_limits(min_signal_rate: float, max_signal_rate: float) -> None:
    if not 0 < min_signal_rate < max_signal_rate < 1:
        raise ValueError(
            "schedule.min_signal_rate must be above 0 and below schedule.max_signal_rate, which must be below 1, not "
            f"{min_signal_rate} and {max_signal_rate}"
        )


def _betas_of_alpha(alpha: Tensor) -> Tensor:
    """The betas for alpha at the nodes 1/T..1; both (T,), float64. Equal values give a beta of exactly 0."""
    log_alpha_bar = 2 * alpha.log()
    return -torch.expm1(log_alpha_bar.diff(prepend=log_alpha_bar.new_zeros(1)))
