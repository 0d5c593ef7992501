"""An image on its way into noise, under several schedules."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ddpm_lightning.data.normalizer import SymmetricNormalizer
from ddpm_lightning.diffusion.forward_process import q_sample
from ddpm_lightning.diffusion.randomness import Purpose, keyed_normal
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.process_pictures.figure import figure_picture, new_figure

INCHES = 0.85
"""Width and height of one of the pictures."""


def noised_strip(schedule: Schedule, picture: Tensor, t: Tensor) -> Tensor:
    """The picture noised to each time t, (T,), always with the same eps: (T, C, H, W), uint8.

    If x_t has more than unit variance, it is shown scaled down to unit variance. picture: (C, H, W), uint8.
    """
    normalizer = SymmetricNormalizer(len(picture))
    x_0 = normalizer.to_model(picture)
    eps = keyed_normal(0, Purpose.NOISE, torch.zeros(1, dtype=torch.long), tuple(picture.shape))[0]
    return normalizer.to_uint8(scaled_strip(schedule, x_0, eps, t))


def scaled_strip(schedule: Schedule, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """The x_t of one image, with the same eps, at each time t, (T,), at most of unit variance: (T, C, H, W).

    x_0, eps: (C, H, W).
    """
    rates = schedule.rates(t)
    x_t = q_sample(x_0.expand(len(t), *x_0.shape), eps, rates)
    return rates.input_scale().reshape(-1, 1, 1, 1) * x_t


def forward_strips(schedules: Mapping[str, Schedule], picture: Tensor, frames: int) -> Tensor:
    """A figure with a strip for each schedule, (3, H', W'), uint8. picture: (3, H, W), uint8."""
    t = torch.linspace(0, 1, frames)
    figure = new_figure(INCHES * frames + 1.2, INCHES * len(schedules) + 0.3)
    grid = figure.subplots(len(schedules), frames, squeeze=False)
    for row, (name, schedule) in zip(grid, schedules.items(), strict=True):
        for axes, noised in zip(row, noised_strip(schedule, picture, t), strict=True):
            axes.imshow(noised.permute(1, 2, 0).numpy(), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for axes, time in zip(grid[0], t.tolist(), strict=True):
        axes.set_title(f"t = {time:.2g}", fontsize=9)
    return figure_picture(figure)
