"""The optimizer and its learning-rate schedule."""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from lightning_utilities.core.rank_zero import rank_zero_only
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

log = logging.getLogger(__name__)


def warmup_then_cosine(step: int, warmup_steps: int, total_steps: int, final_fraction: float) -> float:
    """The learning rate's factor at an optimizer step: a linear rise, then half a cosine down to `final_fraction`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov & Hutter 2019) with linear warm-up and cosine decay.

    Args:
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
        betas: decay rates of the moments.
        warmup_steps: optimizer steps of the linear rise.
        final_fraction: final learning rate as a fraction of the peak; 1 for no decay.

    Raises:
        ValueError: an option is out of range.
    """

    lr: float = 2e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_steps: int = 200
    final_fraction: float = 0.0

    def __post_init__(self) -> None:
        for option in ("lr", "weight_decay", "warmup_steps", "final_fraction"):
            value = getattr(self, option)
            if not 0 <= value < math.inf:
                raise ValueError(f"optimizer.{option} must be a finite number of at least 0, not {value}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optimizer.betas must lie in [0, 1), not {list(self.betas)}")

    def build(self, parameters: Iterable[nn.Parameter], total_steps: int) -> tuple[torch.optim.Optimizer, LambdaLR]:
        """Builds the optimizer and its learning-rate schedule for `total_steps` optimizer steps.

        Warns if the learning rate does not reach its peak in them.
        """
        if self.warmup_steps > total_steps:
            rank_zero_only(log.warning)(
                f"the training ends at step {total_steps}, before optimizer.warmup_steps={self.warmup_steps} are over: "
                f"the learning rate rises only to {self.lr * total_steps / self.warmup_steps:.3g} of "
                f"optimizer.lr={self.lr:g}. Train longer, or set fewer"
            )
        parameters = list(parameters)
        fused = {p.device.type for p in parameters} <= {"cpu", "cuda", "mps", "xpu"}
        optimizer = torch.optim.AdamW(
            parameters, lr=self.lr, weight_decay=self.weight_decay, betas=(self.betas[0], self.betas[1]), fused=fused
        )
        factor = partial(
            warmup_then_cosine,
            warmup_steps=self.warmup_steps,
            total_steps=total_steps,
            final_fraction=self.final_fraction,
        )
        return optimizer, LambdaLR(optimizer, factor)
