"""Noise schedules: how much signal is left at a time t in [0, 1]."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Rates(NamedTuple):
    """Signal and noise rate, sqrt(alpha_bar) and sqrt(1 - alpha_bar), of equal shape; signal^2 + noise^2 = 1."""

    signal: Tensor
    noise: Tensor

    def broadcast_to(self, x: Tensor) -> "Rates":
        """The same rates with trailing axes of size 1, so that (B,) multiplies a tensor of shape (B, ...)."""
        shape = (-1,) + (1,) * (x.dim() - 1)
        return Rates(self.signal.reshape(shape), self.noise.reshape(shape))


class Schedule(nn.Module):
    """A discrete schedule of `num_steps` betas, made continuous.

    The nodes t_i = i/T, i = 0..T, carry the exact product alpha_bar_i = prod_{j<=i} (1 - beta_j) (Ho et al. 2020,
    eq. 4) and alpha_bar(0) = 1; between nodes log alpha_bar is interpolated linearly, and the signal rate itself where
    it falls to 0. Tables and interpolation are in float64; answers have the dtype of t.

    Args:
        betas: (T,), float64, each in [0, 1), the first above 0. Where one is 0 the schedule stands still.
        zero_terminal_snr: shift and scale the signal rates so that none is left at t = 1 and the first stays (Lin et
            al. 2023, algorithm 1). Training then knows the pure noise that sampling starts from.

    Raises:
        ValueError: betas are out of range, or zero_terminal_snr is asked for and the signal rate does not fall after
            the first step.
    """

    log_alpha_bar_nodes: Tensor

    def __init__(self, betas: Tensor, zero_terminal_snr: bool = False) -> None:
        super().__init__()
        if betas.dim() != 1 or len(betas) < 1 or not bool(((betas >= 0) & (betas < 1)).all() and betas[0] > 0):
            values = f" from {betas.min():.3g} to {betas.max():.3g}" if betas.numel() else ""
            raise ValueError(
                "betas must be a non-empty vector of numbers from 0 to below 1, the first above 0, not of shape "
                f"{tuple(betas.shape)}{values}"
            )
        log_alpha_bar = torch.log1p(-betas.double()).cumsum(0)
        if zero_terminal_snr:
            log_alpha_bar = _without_terminal_signal(log_alpha_bar)
        self.num_steps = len(betas)
        self.zero_terminal_snr = zero_terminal_snr
        nodes = torch.cat([torch.zeros(1, dtype=torch.float64), log_alpha_bar])
        self.register_buffer("log_alpha_bar_nodes", nodes, persistent=False)

    def log_alpha_bar(self, t: Tensor) -> Tensor:
        """Log alpha_bar at t of any shape, in [0, 1]. Returns float64 of the same shape, 0 at t = 0."""
        position = t.double() * self.num_steps
        # i/T is rarely a float32: what lies within its rounding of a node is that node.
        node = position.round()
        rounding = self.num_steps * torch.finfo(torch.float32).eps
        position = torch.where((position - node).abs() < rounding, node, position)
        left = position.floor().clamp(0, self.num_steps - 1).long()
        low, high = self.log_alpha_bar_nodes[left], self.log_alpha_bar_nodes[left + 1]
        along = position - left
        return torch.where(high.isneginf(), low + 2 * torch.log1p(-along), torch.lerp(low, high, along))

    def alpha_bar(self, t: Tensor) -> Tensor:
        """alpha_bar at t in [0, 1]; same shape and dtype as t."""
        return self.log_alpha_bar(t).exp().to(t.dtype)

    def rates(self, t: Tensor) -> Rates:
        """Signal and noise rate at t in [0, 1]; same shape and dtype as t."""
        log_alpha_bar = self.log_alpha_bar(t)
        return Rates((log_alpha_bar / 2).exp().to(t.dtype), (-torch.expm1(log_alpha_bar)).sqrt().to(t.dtype))

    def signal_rate(self, t: Tensor) -> Tensor:
        """sqrt(alpha_bar) at t in [0, 1]; same shape and dtype as t."""
        return self.rates(t).signal

    def noise_rate(self, t: Tensor) -> Tensor:
        """sqrt(1 - alpha_bar) at t in [0, 1]; same shape and dtype as t."""
        return self.rates(t).noise

    def log_snr(self, t: Tensor) -> Tensor:
        """log(alpha_bar / (1 - alpha_bar)) at t in (0, 1]; same shape and dtype as t.

        Infinite at t = 0, and minus infinity at t = 1 with zero terminal SNR.
        """
        log_alpha_bar = self.log_alpha_bar(t)
        return (log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))).to(t.dtype)

    def noise_variance(self, t: Tensor) -> Tensor:
        """1 - alpha_bar at t in [0, 1]; same shape and dtype as t."""
        return (-torch.expm1(self.log_alpha_bar(t))).to(t.dtype)

    def time(self, t: Tensor) -> Tensor:
        """The time t itself: the measure of noise level that networks of the DDPM family are given."""
        return t

    def time_of_log_snr(self, log_snr: Tensor) -> Tensor:
        """The t in [1/T, 1] at which the log SNR is nearest to the one asked for (its inverse within that range).

        Where the schedule stands still at that log SNR, it is an end of the piece: which one, rounding decides.
        """
        # alpha_bar = sigmoid(log SNR); both tables are turned round because interpolation wants them to increase.
        target = nn.functional.logsigmoid(log_snr.double())
        table = self.log_alpha_bar_nodes.flip(0).contiguous()
        right = torch.searchsorted(table, target.contiguous()).clamp(1, self.num_steps)
        low, high = table[right - 1], table[right]
        # The two are equal only where the schedule stands still at its very end and is asked for that or less: t = 1.
        along = torch.where(high > low, (target - low) / (high - low), 0.0)
        along = torch.where(low.isneginf(), ((target - high) / 2).exp(), along)
        position = self.num_steps - (right - 1 + along)
        return (position.clamp(1, self.num_steps) / self.num_steps).to(log_snr.dtype)


def _without_terminal_signal(log_alpha_bar: Tensor) -> Tensor:
    """Lin et al. 2023, algorithm 1, on log alpha_bar at the nodes 1/T..1: (T,) to (T,), the last one minus infinity."""
    signal = (log_alpha_bar / 2).exp()
    if not signal[0] > signal[-1]:
        raise ValueError(
            "schedule.zero_terminal_snr=true lets the signal fall from the first step to the last, and needs more than "
            f"one step between which it falls, not schedule.num_steps={len(signal)}"
        )
    return 2 * ((signal - signal[-1]) * (signal[0] / (signal[0] - signal[-1]))).log()


def check_num_steps(num_steps: int) -> None:
    """Raises ValueError unless there is at least one step."""
    if num_steps < 1:
        raise ValueError(f"schedule.num_steps must be at least 1, not {num_steps}")


def beta_scale(num_steps: int, beta_start: float, beta_end: float, scale_betas: bool) -> float:
    """The factor of betas that are made for 1000 steps: 1000/T if `scale_betas`, so that t = 1 is still noise, else 1.

    Raises:
        ValueError: if beta_start is not above 0 or beta_end below 0; if num_steps is below 1, or so small that the
            largest scaled beta reaches 1.
    """
    check_num_steps(num_steps)
    if beta_start <= 0 or beta_end < 0:
        raise ValueError(
            f"schedule.beta_start must be above 0 and schedule.beta_end at least 0, not {beta_start} and {beta_end}"
        )
    scale = 1000 / num_steps if scale_betas else 1.0
    largest = max(beta_start, beta_end)
    if scale_betas and scale * largest >= 1:
        raise ValueError(
            f"schedule.num_steps={num_steps} scales the largest beta to {scale * largest:.3g}, which must stay below "
            f"1: take more than {math.floor(1000 * largest)} steps or schedule.scale_betas=false"
        )
    return scale


def linear_betas(num_steps: int, beta_start: float, beta_end: float, scale_betas: bool) -> Tensor:
    """The betas of `LinearSchedule`, (T,), float64."""
    scale = beta_scale(num_steps, beta_start, beta_end, scale_betas)
    return scale * torch.linspace(beta_start, beta_end, num_steps, dtype=torch.float64)


def clipped_betas(alpha_bar: Tensor, max_beta: float) -> Tensor:
    """Betas, (T,), of alpha_bar or any multiple of it at the nodes 0..T, (T + 1,).

    They are clipped so that each leaves some of the signal.

    Raises:
        ValueError: unless 0 < max_beta < 1.
    """
    if not 0 < max_beta < 1:
        raise ValueError(f"schedule.max_beta must lie between 0 and 1, not {max_beta}")
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=max_beta)


class LinearSchedule(Schedule):
    """Betas rising linearly from 1e-4 to 0.02 over 1000 steps (Ho et al. 2020, section 4).

    For another number of steps the betas are scaled by 1000/T, so that t = 1 is still noise;
    `scale_betas=False` keeps them as they are, which for T = 200 leaves a signal rate of 0.36 at t = 1.

    Raises:
        ValueError: if beta_start is not above 0, beta_end below 0 or num_steps below 1; if a beta, scaled or not,
            reaches 1.
    """

    def __init__(
        self,
        num_steps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        scale_betas: bool = True,
        zero_terminal_snr: bool = False,
    ) -> None:
        super().__init__(linear_betas(num_steps, beta_start, beta_end, scale_betas), zero_terminal_snr)


class CosineSchedule(Schedule):
    """alpha_bar following a squared cosine, with betas clipped (Nichol & Dhariwal 2021, eq. 17).

    alpha_bar(1) is 2.4e-9 for T = 1000: dividing by the signal rate there multiplies errors by 20,000.

    Raises:
        ValueError: if num_steps is below 1, or max_beta not between 0 and 1.
    """

    def __init__(
        self, num_steps: int = 1000, offset: float = 0.008, max_beta: float = 0.999, zero_terminal_snr: bool = False
    ) -> None:
        check_num_steps(num_steps)
        t = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
        # eq. 17; alpha_bar = f / f(0), and betas need only quotients
        f = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
        super().__init__(clipped_betas(f, max_beta), zero_terminal_snr)
