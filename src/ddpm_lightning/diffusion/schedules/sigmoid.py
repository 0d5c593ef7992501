"""The sigmoid schedule (Jabri et al. 2022)."""

import torch

from ddpm_lightning.diffusion.schedules.discrete import DiscreteSchedule, check_num_steps, clipped_betas


class SigmoidSchedule(DiscreteSchedule):
    """alpha_bar following a piece of a sigmoid, stretched from 1 to 0, with betas clipped (Jabri et al. 2022).

    With s(t) = sigmoid((start + t (end - start)) / tau) it is (s(1) - s(t)) / (s(1) - s(0)). The smaller tau is, the
    steeper the fall in the middle; a large tau approaches a straight line.

    Raises:
        ValueError: if num_steps is below 1, tau is not positive, start is not below end or max_beta is not between 0
            and 1.
    """

    def __init__(
        self,
        num_steps: int = 1000,
        start: float = -3.0,
        end: float = 3.0,
        tau: float = 1.0,
        max_beta: float = 0.999,
        zero_terminal_snr: bool = False,
    ) -> None:
        check_num_steps(num_steps)
        if not (tau > 0 and start < end):
            raise ValueError(
                "schedule=sigmoid needs schedule.tau above 0 and schedule.start below schedule.end, not "
                f"tau={tau}, start={start}, end={end}"
            )
        t = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
        s = torch.sigmoid((start + t * (end - start)) / tau)
        super().__init__(clipped_betas((s[-1] - s) / (s[-1] - s[0]), max_beta), zero_terminal_snr)
