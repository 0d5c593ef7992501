"""The forward process q: noising an image, and the posterior of a less noisy one."""

from typing import NamedTuple

from torch import Tensor

from ddpm_lightning.diffusion.schedule import Rates, Schedule


def q_sample(x_0: Tensor, noise: Tensor, rates: Rates) -> Tensor:
    """x_t = signal * x_0 + noise_rate * noise (Ho et al. 2020, eq. 4).

    x_0 and noise: (B, ...), of one shape; rates: (B,). Returns x_t, shaped as x_0.
    """
    rates = rates.broadcast_to(x_0)
    return rates.signal * x_0 + rates.noise * noise


class Posterior(NamedTuple):
    """q(x_s | x_t, x_0) = N(image_weight * x_0 + noisy_weight * x_t, variance): three tensors shaped as t."""

    image_weight: Tensor
    noisy_weight: Tensor
    variance: Tensor


def posterior(schedule: Schedule, t: Tensor, s: Tensor) -> Posterior:
    """The forward process' posterior of x_s given x_t and x_0, for any s < t (Ho et al. 2020, eq. 6 and 7).

    With alpha_{t|s} = alpha_bar_t / alpha_bar_s it is Ho et al.'s formula for one step; s = t - 1/T gives theirs.
    t, s: (B,), in [0, 1], s < t.
    """
    log_t, log_s = schedule.log_alpha_bar(t), schedule.log_alpha_bar(s)
    beta = -(log_t - log_s).expm1()  # 1 - alpha_{t|s}
    variance_t, variance_s = -log_t.expm1(), -log_s.expm1()  # 1 - alpha_bar
    return Posterior(
        image_weight=((log_s / 2).exp() * beta / variance_t).to(t.dtype),
        noisy_weight=(((log_t - log_s) / 2).exp() * variance_s / variance_t).to(t.dtype),
        variance=(variance_s / variance_t * beta).to(t.dtype),
    )
