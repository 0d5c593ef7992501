"""The straight path of flow matching."""

import torch
from torch import Tensor

from ddpm_lightning.diffusion.schedule import Rates, Schedule


class FlowSchedule(Schedule):
    """alpha = 1 - t, sigma = t: rectified flow (Liu et al. 2023; Lipman et al. 2023), with t = 0 the data.

    No signal is left at t = 1.

    Args:
        t_min: the smallest t that training draws, in (0, 1): at t = 0 there is no noise to predict.
    """

    def __init__(self, t_min: float = 1e-3) -> None:
        super().__init__(t_min)
        if t_min == 1:
            raise ValueError("schedule.t_min must be below 1, where no signal is left")

    def rates(self, t: Tensor) -> Rates:
        return Rates(1 - t, t.clone())

    def log_snr(self, t: Tensor) -> Tensor:
        t_64 = t.double()
        return (2 * (torch.log1p(-t_64) - torch.log(t_64))).to(t.dtype)

    def time_of_log_snr(self, log_snr: Tensor) -> Tensor:
        # t / (1 - t) = exp(-log SNR / 2)
        return torch.sigmoid(-log_snr.double() / 2).clamp(self.t_min, 1).to(log_snr.dtype)
