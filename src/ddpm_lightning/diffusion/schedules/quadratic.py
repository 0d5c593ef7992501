"""The quadratic schedule (Song et al. 2021, their code)."""

import math

import torch

from ddpm_lightning.diffusion.schedules.discrete import DiscreteSchedule, beta_scale


class QuadraticSchedule(DiscreteSchedule):
    """Betas whose square roots rise linearly: less noise early on than `LinearSchedule` with the same ends.

    "quad" in the code of Song et al. 2021, "scaled_linear" in that of latent diffusion (Rombach et al. 2022). For a
    number of steps other than 1000 the betas are scaled as in `LinearSchedule`.

    Raises:
        ValueError: as in `LinearSchedule`.
    """

    def __init__(
        self,
        num_steps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        scale_betas: bool = True,
        zero_terminal_snr: bool = False,
    ) -> None:
        scale = beta_scale(num_steps, beta_start, beta_end, scale_betas)
        roots = torch.linspace(math.sqrt(beta_start), math.sqrt(beta_end), num_steps, dtype=torch.float64)
        super().__init__(scale * roots.square(), zero_terminal_snr)
