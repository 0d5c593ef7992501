"""The noise from which DDIM would draw a given image (Song et al. 2021, section 4.3; Mokady et al. 2023)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.schedule import scalar_time
from ddpm_lightning.diffusion.target import ValueRange
from ddpm_lightning.samplers.sampler import clamp, predict


@torch.no_grad()
def ddim_inversion(
    denoiser: DenoiserLike,
    x_0: Tensor,
    times: Sequence[float],
    label: Tensor | None = None,
    value_range: ValueRange = (-1.0, 1.0),
) -> Tensor:
    """The x at times[0], (B, C, H, W), float32, from which DDIM with eta = 0 leads to about x_0: its steps in reverse.

    A step up from s to t would need the prediction at (x_t, t), and takes that at (x_s, s); therefore the way back
    misses x_0 by an error of the order of the step. The first one, from s = 0, where nothing is predicted, takes that
    at (x_0, t).

    Args:
        denoiser: predicts x_0 and eps.
        x_0: in the range of images inside the model.
        times: a sampler's, decreasing to 0.
        label: (B,) int64, or None.
        value_range: range of the estimates for self-conditioning.
    """
    x, estimate = x_0.float(), None
    for s, t in pairwise(reversed(times)):
        prediction = predict(denoiser, x, t if s == 0 else s, label, estimate, clip=None)
        estimate = clamp(prediction.x_0, value_range)
        alpha, sigma = denoiser.schedule.rates(scalar_time(t, x.device))
        x = alpha * prediction.x_0 + sigma * prediction.eps
    return x
