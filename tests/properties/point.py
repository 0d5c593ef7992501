"""Data that are a single image, for which the exact denoiser is known and every step of a sampler can be exact."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Prediction, eps_from_x_0
from ddpm_lightning.samplers.sampler import Sampler


class PointDenoiser:
    """Knows the only image there is, one pixel of value `x_0`."""

    t_max = 1.0
    num_classes = None
    knows_none = True
    learns_variance = False

    def __init__(self, schedule: Schedule, x_0: float) -> None:
        self.schedule = schedule
        self.x_0 = x_0

    def describe(self) -> dict[str, str]:
        return {"name": "none"}

    def evaluations_at(self, t: float) -> int:
        return 1

    def predicts_at(self, t: float) -> bool:
        return True

    def __call__(
        self, x_t: Tensor, t: Tensor, label: Tensor | None = None, estimate: Tensor | None = None
    ) -> Prediction:
        x_0 = torch.full_like(x_t, self.x_0)
        return Prediction(x_0, eps_from_x_0(x_t, x_0, self.schedule.rates(t)))


class NormalDenoiser(PointDenoiser):
    """Knows the expectation of standard normal pixels."""

    def __call__(
        self, x_t: Tensor, t: Tensor, label: Tensor | None = None, estimate: Tensor | None = None
    ) -> Prediction:
        rates = self.schedule.rates(t).broadcast_to(x_t)
        return Prediction(*(rate * x_t / rates.std().square() for rate in rates))


def marginals(
    sampler: Sampler, denoiser: PointDenoiser, times: Sequence[float], start: tuple[float, float]
) -> list[tuple[float, float, float]]:
    """(t, mean, standard deviation) of x at every node before 0, from x with the mean and deviation of `start`.

    A pixel of these data is an affine map of the normal numbers for its start and for each step; fed zeros and each
    unit vector of them, the sampler shows that map.
    """
    inputs = torch.cat([torch.zeros(1, len(times)), torch.eye(len(times))])[..., None, None, None]
    states: list[tuple[float, float, float]] = []

    def record(t: float, x: Tensor) -> None:
        pixels = x.flatten().double()
        states.append((t, float(pixels[0]), float((pixels[1:] - pixels[0]).norm())))

    mean, std = start
    x = sampler.loop(
        denoiser,
        mean + std * inputs[:, 0],
        times,
        lambda step: inputs[:, step + 1],
        clip=None,
        callback=lambda state: record(state.t, state.x_t),
    )
    record(0.0, x)
    return states
