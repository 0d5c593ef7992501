"""The cosine schedule (Nichol & Dhariwal 2021)."""

import math

import torch

from ddpm_lightning.diffusion.schedules.discrete import DiscreteSchedule, check_num_steps, clipped_betas


class CosineSchedule(DiscreteSchedule):
    """alpha_bar following a squared cosine, with betas clipped (Nichol & Dhariwal 2021, eq. 17).

    alpha_bar(1) is 2.4e-9 for T = 1000: dividing by alpha there multiplies errors by 20,000.

    Raises:
        ValueError: if num_steps is below 1, offset is negative, or max_beta is not between 0 and 1.
    """

    def __init__(
        self, num_steps: int = 1000, offset: float = 0.008, max_beta: float = 0.999, zero_terminal_snr: bool = False
    ) -> None:
        check_num_steps(num_steps)
        if not 0 <= offset < math.inf:
            raise ValueError(f"schedule.offset must be a finite number of at least 0, not {offset}")
        t = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
        # eq. 17; alpha_bar = f / f(0), and betas need only quotients
        f = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
        super().__init__(clipped_betas(f, max_beta), zero_terminal_snr)
