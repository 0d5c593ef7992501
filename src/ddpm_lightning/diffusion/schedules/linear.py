"""The linear schedule (Ho et al. 2020)."""

import torch

from ddpm_lightning.diffusion.schedules.discrete import DiscreteSchedule, beta_scale


class LinearSchedule(DiscreteSchedule):
    """Betas rising linearly from 1e-4 to 0.02 over 1000 steps (Ho et al. 2020, section 4).

    For another number of steps the betas are scaled by 1000/T, so that t = 1 is still noise;
    `scale_betas=False` keeps them as they are, which for T = 200 leaves alpha = 0.36 at t = 1.

    Raises:
        ValueError: if beta_start is not above 0, beta_end is below 0 or num_steps is below 1; if a beta, scaled or
            not, reaches 1.
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
        betas = torch.linspace(beta_start, beta_end, num_steps, dtype=torch.float64)
        super().__init__(scale * betas, zero_terminal_snr)
