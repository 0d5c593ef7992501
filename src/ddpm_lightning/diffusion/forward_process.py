"""The forward process q: noising an image, and the posterior of a less noisy one."""

from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_lightning.diffusion.schedule import Rates, Schedule


def q_sample(x_0: Tensor, eps: Tensor, rates: Rates) -> Tensor:
    """x_t = alpha x_0 + sigma eps (Ho et al. 2020, eq. 4; Kingma et al. 2021, eq. 1).

    x_0 and eps: (B, ...), of the same shape; rates: (B,). Returns x_t, shaped like x_0.
    """
    alpha, sigma = rates.broadcast_to(x_0)
    return alpha * x_0 + sigma * eps


class Noised(NamedTuple):
    """A noised batch, with everything it was computed from.

    Attributes:
        x_0: (B, ...), the images.
        eps: (B, ...), standard normal.
        t: (B,), in (0, 1].
        x_t: (B, ...), alpha x_0 + sigma eps.
        rates: alpha and sigma at t, each (B,).
        log_snr: (B,), at t.
    """

    x_0: Tensor
    eps: Tensor
    t: Tensor
    x_t: Tensor
    rates: Rates
    log_snr: Tensor


def noise_batch(schedule: Schedule, x_0: Tensor, eps: Tensor, t: Tensor) -> Noised:
    """The images x_0 at the times t. x_0, eps: (B, ...); t: (B,), in (0, 1]."""
    rates = schedule.rates(t)
    return Noised(x_0, eps, t, q_sample(x_0, eps, rates), rates, schedule.log_snr(t))


class Posterior(NamedTuple):
    """q(x_s | x_t, x_0) = N(x_0_weight x_0 + x_t_weight x_t, variance), and the variance of q(x_t | x_s).

    Four tensors shaped like t. `step_variance` is beta in the step of Ho et al. 2020.
    """

    x_0_weight: Tensor
    x_t_weight: Tensor
    variance: Tensor
    step_variance: Tensor


def posterior(schedule: Schedule, t: Tensor, s: Tensor) -> Posterior:
    """The posterior of x_s given x_t and x_0, for any s < t and any path (Kingma et al. 2021, appendix A).

    With alpha_ts = alpha_t / alpha_s and sigma_ts^2 = sigma_t^2 - alpha_ts^2 sigma_s^2, the variance of q(x_t | x_s).
    On a table of betas, s = t - 1/T gives Ho et al. 2020, eq. 6 and 7. t, s: of the same shape, in [0, 1], s < t.
    """
    log_snr_t, log_snr_s = schedule.log_snr(t.double()), schedule.log_snr(s.double())
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.rates(t.double()), schedule.rates(s.double())
    ratio = -torch.expm1(log_snr_t - log_snr_s)  # sigma_ts^2 / sigma_t^2 = 1 - SNR_t / SNR_s, without cancellation
    return Posterior(
        x_0_weight=(alpha_s * ratio).to(t.dtype),
        x_t_weight=(alpha_t / alpha_s * sigma_s.square() / sigma_t.square()).to(t.dtype),
        variance=(sigma_s.square() * ratio).to(t.dtype),
        step_variance=(sigma_t.square() * ratio).to(t.dtype),
    )
