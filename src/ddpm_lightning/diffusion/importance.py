"""Times that training draws more often where losses are large: importance sampling by what it has seen."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.timesteps import DiscreteTimesteps, most_nodes

MAX_STEPS, MAX_HISTORY = 10_000, 1000
"""Beyond these, a training would be over before every step has its history."""


class LossHistory(nn.Module):
    """The latest losses at each of T steps.

    Args:
        num_steps: T.
        length: how many losses are kept of each step.
    """

    losses: Tensor
    counts: Tensor

    def __init__(self, num_steps: int, length: int) -> None:
        super().__init__()
        self.register_buffer("losses", torch.zeros(num_steps, length))
        self.register_buffer("counts", torch.zeros(num_steps, dtype=torch.int64))

    @torch.no_grad()
    def record(self, step: Tensor, loss: Tensor) -> None:
        """Records losses as if one after another, each in the place of the oldest of its step.

        step: (B,) int64, in [0, T), in any order and with repetitions. loss: (B,).
        """
        length = self.losses.shape[1]
        step, order = step.sort(stable=True)
        position = torch.arange(len(step), device=step.device)
        first, end = torch.searchsorted(step, step), torch.searchsorted(step, step, right=True)
        place = (self.counts[step] + position - first) % length
        # Losses that share a place all write the last of them, because a device writes in no particular order.
        last = position + (end - 1 - position) // length * length
        self.losses[step, place] = loss[order][last].to(self.losses)
        self.counts.index_add_(0, step, torch.ones_like(step))

    def is_full(self) -> Tensor:
        """Whether every step has as many losses as are kept, () of bool."""
        return (self.counts >= self.losses.shape[1]).all()

    def second_moment(self) -> Tensor:
        """The mean of the squared losses of each step, (T,) float64; meaningless until the history is full."""
        return self.losses.double().square().mean(1)


@dataclass(frozen=True)
class ImportanceTimesteps(DiscreteTimesteps):
    """The nodes i/T, drawn in proportion to the root of the second moment of their losses.

    Nichol & Dhariwal 2021, eq. 18. Losses are weighted by 1 / (T p_i), so that their mean, and the gradient's, is that
    over nodes which are all equally likely; it varies less, above all with the variational bound. Until every node has
    its history, all are equally likely.

    Args:
        num_steps: T, at most 10,000.
        history: how many losses of each node are remembered, the latest ones.
        uniform_share: share of a draw in which all nodes are equally likely, above 0 and at most 1, so that each is
            visited now and then, and no weight is above its inverse.

    Raises:
        ValueError: an option is out of range.
    """

    history: int = 10
    uniform_share: float = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_steps > MAX_STEPS:
            raise ValueError(f"timesteps.num_steps must be at most {MAX_STEPS}, not {self.num_steps}")
        if not 1 <= self.history <= MAX_HISTORY:
            raise ValueError(f"timesteps.history must be from 1 to {MAX_HISTORY}, not {self.history}")
        if not 0 < self.uniform_share <= 1:
            raise ValueError(f"timesteps.uniform_share must be above 0 and at most 1, not {self.uniform_share}")

    @cached_property
    def memory(self) -> LossHistory:
        return LossHistory(self.num_steps, self.history)

    def probabilities(self) -> Tensor:
        """The probability of each node in training, (T,) float64."""
        root = self.memory.second_moment().sqrt()
        learnt = (1 - self.uniform_share) * root / root.sum() + self.uniform_share / self.num_steps
        learnt = learnt / learnt.sum()  # all NaN after an infinite loss, which is not to be hidden
        return torch.where(self.memory.is_full(), learnt, 1 / self.num_steps)

    def proposal(self, uniform: Tensor) -> Tensor:
        # Whole numbers have the same sums on every device, in whatever order it adds.
        cumulative = (self.probabilities() * 2.0**52).long().cumsum(0)
        step = torch.searchsorted(cumulative, (uniform.double() * cumulative[-1]).long(), right=True)
        middle = (step + 0.5) / self.num_steps
        return torch.where(self.memory.is_full(), middle.to(uniform.dtype), uniform)

    def weights(self, t: Tensor) -> Tensor:
        return (1 / (self.num_steps * self.probabilities()[self._step(t)])).to(t.dtype)

    def record(self, t: Tensor, losses: Tensor) -> None:
        self.memory.record(self._step(t), losses)

    def check(self, schedule: Schedule) -> None:
        if self.num_steps > most_nodes(schedule):
            raise ValueError(
                f"timesteps.num_steps={self.num_steps} has steps below t = {schedule.t_min:g}, which training never "
                f"draws: set timesteps.num_steps to at most {most_nodes(schedule)}"
            )

    def _step(self, t: Tensor) -> Tensor:
        """The index of each node, counted from 0, (B,) int64."""
        return (t * self.num_steps).round().long() - 1
