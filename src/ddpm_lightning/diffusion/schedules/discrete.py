"""Variance-preserving schedules made of a table of betas (Ho et al. 2020), interpolated to continuous time."""

import math

import torch
from torch import Tensor, nn

from ddpm_lightning.diffusion.schedule import Rates, Schedule


class DiscreteSchedule(Schedule):
    """A discrete schedule of T betas, interpolated to continuous time; alpha^2 + sigma^2 = 1.

    The nodes t_i = i/T, i = 0..T, carry the exact product alpha_bar_i = prod_{j<=i} (1 - beta_j) = alpha(t_i)^2 (Ho et
    al. 2020, eq. 4); between nodes log alpha_bar is interpolated linearly, and alpha itself where it falls to 0. Tables
    and interpolation are in float64; answers have the dtype of t.

    Args:
        betas: (T,), float64, each in [0, 1), the first above 0. Where one is 0, alpha does not change.
        zero_terminal_snr: shift and scale alpha so that it is 0 at t = 1 and keeps its first value (Lin et al. 2023,
            algorithm 1). Training then includes the pure noise that sampling starts from.

    Raises:
        ValueError: if betas are out of range, or if zero_terminal_snr is set but alpha does not fall after the first
            step.
    """

    log_alpha_bar_nodes: Tensor

    def __init__(self, betas: Tensor, zero_terminal_snr: bool = False) -> None:
        if betas.dim() != 1 or len(betas) < 1 or not bool(((betas >= 0) & (betas < 1)).all() and betas[0] > 0):
            values = f" with values from {betas.min():.3g} to {betas.max():.3g}" if betas.numel() else ""
            raise ValueError(
                "betas must be a non-empty vector of numbers in [0, 1), the first above 0; got shape "
                f"{tuple(betas.shape)}{values}"
            )
        super().__init__(t_min=1 / len(betas))
        log_alpha_bar = torch.log1p(-betas.double()).cumsum(0)
        if zero_terminal_snr:
            log_alpha_bar = _without_terminal_signal(log_alpha_bar)
        self.num_steps = len(betas)
        nodes = torch.cat([torch.zeros(1, dtype=torch.float64), log_alpha_bar])
        self.register_buffer("log_alpha_bar_nodes", nodes, persistent=False)

    def log_alpha_bar(self, t: Tensor) -> Tensor:
        """2 log alpha at t of any shape, in [0, 1]. Returns float64 of the same shape, 0 at t = 0."""
        position = t.double() * self.num_steps
        # i/T is rarely exact in float32, so snap t to a node within float32 rounding.
        node = position.round()
        rounding = self.num_steps * torch.finfo(torch.float32).eps
        position = torch.where((position - node).abs() < rounding, node, position)
        left = position.floor().clamp(0, self.num_steps - 1).long()
        # Indexing by a scalar tensor would wait for the device.
        low, high = torch.take(self.log_alpha_bar_nodes, left), torch.take(self.log_alpha_bar_nodes, left + 1)
        fraction = position - left
        return torch.where(high.isneginf(), low + 2 * torch.log1p(-fraction), torch.lerp(low, high, fraction))

    def rates(self, t: Tensor) -> Rates:
        log_alpha_bar = self.log_alpha_bar(t)
        return Rates((log_alpha_bar / 2).exp().to(t.dtype), (-torch.expm1(log_alpha_bar)).sqrt().to(t.dtype))

    def log_snr(self, t: Tensor) -> Tensor:
        log_alpha_bar = self.log_alpha_bar(t)
        return (log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))).to(t.dtype)

    def time_of_log_snr(self, log_snr: Tensor) -> Tensor:
        """The t in [1/T, 1] at which the log SNR is nearest to the one asked for; same shape and dtype.

        Where the schedule has a plateau at that log SNR, it is either end of the plateau (rounding decides which).
        """
        target = nn.functional.logsigmoid(log_snr.double())  # alpha_bar = sigmoid(log SNR)
        table = self.log_alpha_bar_nodes.flip(0).contiguous()  # searchsorted wants an increasing table
        right = torch.searchsorted(table, target.contiguous()).clamp(1, self.num_steps)
        low, high = table[right - 1], table[right]
        # low == high only on a plateau at the end of the schedule, when that level or less is asked for: t = 1.
        fraction = torch.where(high > low, (target - low) / (high - low), 0.0)
        fraction = torch.where(low.isneginf(), ((target - high) / 2).exp(), fraction)
        position = self.num_steps - (right - 1 + fraction)
        return (position.clamp(1, self.num_steps) / self.num_steps).to(log_snr.dtype)


def _without_terminal_signal(log_alpha_bar: Tensor) -> Tensor:
    """Lin et al. 2023, algorithm 1, on log alpha_bar at the nodes 1/T..1: (T,) to (T,), the last one minus infinity."""
    alpha = (log_alpha_bar / 2).exp()
    if not alpha[0] > alpha[-1]:
        raise ValueError(
            "schedule.zero_terminal_snr=true needs an alpha that falls after the first step; with "
            f"schedule.num_steps={len(alpha)} it stays constant: use more steps"
        )
    if len(alpha) > 1 and alpha[-2] == alpha[-1]:
        raise ValueError(
            "schedule.zero_terminal_snr=true needs an alpha that falls in the last step, or the signal vanishes before "
            "t = 1: use a larger last beta"
        )
    return 2 * ((alpha - alpha[-1]) * (alpha[0] / (alpha[0] - alpha[-1]))).log()


def check_num_steps(num_steps: int) -> None:
    """Raises ValueError unless there is at least one step."""
    if num_steps < 1:
        raise ValueError(f"schedule.num_steps must be at least 1, not {num_steps}")


def beta_scale(num_steps: int, beta_start: float, beta_end: float, scale_betas: bool) -> float:
    """The factor for betas designed for 1000 steps: 1000/T if `scale_betas`, so that t = 1 is still noise, else 1.

    Raises:
        ValueError: if beta_start is not above 0 or beta_end is below 0; if num_steps is below 1, or so small that the
            largest scaled beta reaches 1.
    """
    check_num_steps(num_steps)
    if not (beta_start > 0 and beta_end >= 0):
        raise ValueError(
            f"schedule.beta_start must be above 0 and schedule.beta_end at least 0, not {beta_start} and {beta_end}"
        )
    scale = 1000 / num_steps if scale_betas else 1.0
    largest = max(beta_start, beta_end)
    if largest >= 1:
        raise ValueError(f"schedule.beta_start and schedule.beta_end must be below 1, not {beta_start} and {beta_end}")
    if scale * largest >= 1:
        raise ValueError(
            f"schedule.num_steps={num_steps} scales the largest beta to {scale * largest:.3g}, which must stay below "
            f"1: use more than {math.floor(1000 * largest)} steps or schedule.scale_betas=false"
        )
    return scale


def clipped_betas(alpha_bar: Tensor, max_beta: float) -> Tensor:
    """Betas, (T,), from alpha_bar or a multiple of it at the nodes 0..T, (T + 1,), clipped so that some signal is left.

    Raises:
        ValueError: unless 0 < max_beta < 1.
    """
    if not 0 < max_beta < 1:
        raise ValueError(f"schedule.max_beta must lie between 0 and 1, not {max_beta}")
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=max_beta)
