"""The variational bound on -log p(x_0), term by term, in bits per dimension."""

import math

import torch
from torch import Tensor

from ddpm_lightning.diffusion.forward_process import posterior
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Prediction, ValueRange


class VariationalBound:
    """L_T + L_{T-1} + ... + L_0 of a chain of Gaussian steps over a time grid (Ho et al. 2020, eq. 5).

    Step i leads from t = times[i + 1] to s = times[i]. Its variance lies between that of the posterior (v = 0) and that
    of the forward step (v = 1), interpolated in the logarithm (Nichol & Dhariwal 2021, eq. 15). In step 0, where the
    posterior has none, v = 0 means the posterior's variance of step 1, as in their code, which takes it there for a
    fixed v = 1 as well.

    Args:
        schedule: relates t to alpha and sigma.
        times: (T + 1,), from 0 up to at most 1, increasing, T at least 2.

    Raises:
        ValueError: the times do not increase from 0, or the schedule adds no noise in a step.
    """

    def __init__(self, schedule: Schedule, times: Tensor) -> None:
        times = times.double()
        if len(times) < 3 or times[0] != 0 or times[-1] > 1 or not bool((times.diff() > 0).all()):
            raise ValueError(f"a bound's times must increase from 0 to at most 1 in two steps or more, not {times}")
        self.times = times
        q = posterior(schedule, times[1:], times[:-1])
        added = (q.step_variance > 0) & torch.cat([times.new_ones(1, dtype=torch.bool), q.variance[1:] > 0])
        if not bool(added.all()):
            step = int(added.int().argmin())
            raise ValueError(
                f"the variational bound needs noise in each of its steps, and this schedule adds none from t = "
                f"{float(times[step]):g} to {float(times[step + 1]):g}: take another schedule, or fewer "
                "steps (loss.num_steps; in an evaluation, metrics.bound.num_steps)"
            )
        table = {
            "x_0_weight": q.x_0_weight,
            "x_t_weight": q.x_t_weight,
            "log_small": torch.cat([q.variance[1:2], q.variance[1:]]).log(),
            "log_large": q.step_variance.log(),
        }
        self._on_device = {times.device: table}
        last = schedule.rates(times[-1:])
        self._last = float(last.alpha), 2 * math.log(float(last.sigma)), 2 * math.log(float(last.std()))

    def __len__(self) -> int:
        return len(self.times) - 1

    def term(
        self,
        step: Tensor,
        prediction: Prediction,
        x_0: Tensor,
        x_t: Tensor,
        value_range: ValueRange = (-1.0, 1.0),
    ) -> Tensor:
        """L_step for each image: a KL divergence, or in step 0 the negative log-likelihood of x_0, (B,).

        Args:
            step: (B,) int64, in [0, T).
            prediction: from x_t at times[step + 1], with a v.
            x_0: (B, C, H, W), the image.
            x_t: (B, C, H, W), the image with noise.
            value_range: the lowest and the highest of the 256 values of x_0, whose probabilities step 0 counts; each
                a number, or broadcastable to x_0.

        Raises:
            ValueError: the prediction has no v.
        """
        tables = self._tables(step.device)

        def of_step(table: str) -> Tensor:
            return tables[table][step].to(x_0.dtype).reshape(-1, 1, 1, 1)

        if prediction.v is None:
            raise ValueError("the bound needs the variance of the prediction, v")
        log_small, log_large = of_step("log_small"), of_step("log_large")
        log_variance = prediction.v * log_large + (1 - prediction.v) * log_small
        from_x_t = of_step("x_t_weight") * x_t
        mean = of_step("x_0_weight") * prediction.x_0 + from_x_t
        true_mean = of_step("x_0_weight") * x_0 + from_x_t
        divergence = normal_kl(true_mean, log_small, mean, log_variance)
        is_first = (step == 0).reshape(-1, 1, 1, 1)
        # What is not chosen below must have a finite gradient all the same.
        mean, log_std = torch.where(is_first, mean, x_0), torch.where(is_first, log_variance / 2, 0.0)
        decoder = -discretized_log_likelihood(x_0, mean, log_std, value_range)
        return in_bits(torch.where(is_first, decoder, divergence))

    def _tables(self, device: torch.device) -> dict[str, Tensor]:
        """What each step needs, (T,) each, on this device; copied there once."""
        if device not in self._on_device:
            table = next(iter(self._on_device.values()))
            self._on_device[device] = {name: values.to(device) for name, values in table.items()}
        return self._on_device[device]

    def prior_term(self, x_0: Tensor) -> Tensor:
        """L_T: how far x at the last time is from the noise that sampling starts from, (B,)."""
        alpha, *logs = self._last
        log_variance, log_noise_variance = (x_0.new_full((1,), value) for value in logs)
        return in_bits(normal_kl(alpha * x_0, log_variance, torch.zeros_like(x_0), log_noise_variance))


def in_bits(nats: Tensor) -> Tensor:
    """Bits per dimension of each image, from nats per pixel, (B, ...) to (B,)."""
    return nats.flatten(1).mean(1) / math.log(2)


def normal_kl(mean_1: Tensor, log_variance_1: Tensor, mean_2: Tensor, log_variance_2: Tensor) -> Tensor:
    """KL divergence of the first normal distribution from the second, element by element, in nats."""
    difference = log_variance_1 - log_variance_2
    return 0.5 * (difference.exp() - difference - 1 + (mean_1 - mean_2).square() * (-log_variance_2).exp())


def discretized_log_likelihood(
    x: Tensor, mean: Tensor, log_std: Tensor, value_range: ValueRange = (-1.0, 1.0)
) -> Tensor:
    """Log of the probability that a normal number falls into the bin of x, element by element, in nats.

    x is one of 256 values, evenly spaced over the range; the outer bins reach to infinity (Ho et al. 2020, eq. 13).
    Exact also far in the tails, as long as a bin's edges differ in the precision of x.
    """
    lowest, highest = value_range
    half, scale = (highest - lowest) / 255 / 2, (-log_std).exp()
    low = torch.where(x <= lowest + half, -math.inf, (x - half - mean) * scale)
    high = torch.where(x >= highest - half, math.inf, (x + half - mean) * scale)
    # The difference of two probabilities near 1 is that of two near 0 on the other side.
    low, high = torch.where(low > 0, -high, low), torch.where(low > 0, -low, high)
    log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    least = torch.finfo(log_high.dtype).eps
    return log_high + torch.log1p(-(log_low - log_high).clamp(max=-least).exp())
