"""The random draws of one training step."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ddpm_lightning.diffusion.randomness import Purpose, keyed_normal, keyed_uniform


@dataclass(frozen=True)
class StepDraws:
    """Random draws that depend only on (seed, optimizer step, micro-batch, slot).

    So one process and several see the same draws for the same global batch, and a resumed run needs no generator state.

    Args:
        seed: in [0, 2^32).
        step: optimizer steps taken before this one.
        micro_batch: position of this batch in the window over which gradients accumulate.
        slots: (B,), each sample's position in the global batch.
    """

    seed: int
    step: int
    micro_batch: int
    slots: Tensor

    def uniform(self, purpose: Purpose) -> Tensor:
        """One number in [0, 1) per sample, (B,)."""
        return keyed_uniform(self.seed, purpose, self.slots, step=self.step, micro_batch=self.micro_batch)

    def shared_uniform(self, purpose: Purpose) -> Tensor:
        """One number in [0, 1) for the whole global batch, ()."""
        slot = self.slots.new_zeros(1)
        return keyed_uniform(self.seed, purpose, slot, step=self.step, micro_batch=self.micro_batch)[0]

    def happens(self, purpose: Purpose, probability: float) -> bool:
        """Whether an event of this probability happens, the same for the whole global batch.

        Drawn on the CPU, so that nothing waits for a device.
        """
        item = torch.zeros(1, dtype=torch.int64)
        drawn = keyed_uniform(self.seed, purpose, item, step=self.step, micro_batch=self.micro_batch)
        return bool(drawn < probability)

    def normal(self, purpose: Purpose, shape: tuple[int, ...]) -> Tensor:
        """A standard normal tensor per sample, (B, *shape)."""
        return keyed_normal(self.seed, purpose, self.slots, shape, step=self.step, micro_batch=self.micro_batch)

    def seed_dropout(self, rank: int) -> None:
        """Seeds the global generators, from which only dropout inside the network draws, for this step and rank."""
        words = (self.seed, self.step, self.micro_batch, rank)
        torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]))
