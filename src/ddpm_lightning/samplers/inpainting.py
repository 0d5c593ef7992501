"""Inpainting with a model that was not trained for it (RePaint, Lugmayr et al. 2022)."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ddpm_lightning.diffusion.randomness import Purpose
from ddpm_lightning.samplers.generation import SampleStream


@dataclass(frozen=True)
class RePaint:
    """Fills in the unknown pixels of an image, with any model and any sampler.

    After each step the known pixels are replaced by the image's own, noised to the same level (Lugmayr et al. 2022,
    eq. 8). So that the others come to fit them, groups of steps are taken back, by adding noise, and repeated
    (section 4.2 and algorithm 1).

    Args:
        jump_length: number of steps that are taken back at once, at least 1.
        resamplings: number of times that each group of steps is taken, at least 1.

    Raises:
        ValueError: an option is below 1.
    """

    jump_length: int = 10
    resamplings: int = 10

    def __post_init__(self) -> None:
        for option in ("jump_length", "resamplings"):
            if (value := getattr(self, option)) < 1:
                raise ValueError(f"{option} must be at least 1, not {value}")

    @torch.no_grad()
    def __call__(
        self, stream: SampleStream, indices: Tensor, x_0: Tensor, known: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """Images with the known pixels of x_0, (n, C, H, W), float32, one for each index.

        Args:
            stream: the model and the sampler.
            indices: (n,) int64, of samples: each has noise of its own.
            x_0: (C, H, W), in the range of images inside the model.
            known: (H, W), bool.
            label: (n,) int64, or None.
        """
        sampler, denoiser, value_range = stream.sampler, stream.denoiser, stream.value_range
        times = sampler.times(denoiser)
        clip = value_range if sampler.clip else None
        loop = sampler.begin(denoiser, stream.device, stream.noise_source(indices), label, clip, value_range)
        of_known = stream.noise_source(indices, Purpose.KNOWN_PIXELS)
        of_jump = stream.noise_source(indices, Purpose.RESAMPLING)
        x = loop.rates(times[0]).std() * stream.start(indices)
        for loop.step, (node, following) in enumerate(pairwise(self.walk(sampler.steps))):
            here, there = times[node], times[following]
            if there < here:
                alpha, sigma = loop.rates(there)
                noised = alpha * x_0 + sigma * of_known(loop.step)
                x = torch.where(known, noised, sampler.advance(x, here, there, loop))
            else:
                kept = loop.rates(there).alpha / loop.rates(here).alpha
                x = kept * x + loop.posterior(there, here).step_variance.sqrt() * of_jump(loop.step)
                loop.history.clear()
        return x

    def walk(self, steps: int) -> list[int]:
        """The nodes of the time grid in the order of visits, from 0, at t_max, to `steps`, at 0.

        As the paper's `get_schedule_jump`: jumps back begin one step before the image, and every `jump_length` steps
        above that.
        """
        jumps_left = dict.fromkeys(range(steps - 1, self.jump_length - 1, -self.jump_length), self.resamplings - 1)
        nodes = [0]
        while nodes[-1] < steps:
            nodes.append(nodes[-1] + 1)
            if jumps_left.get(nodes[-1], 0) > 0:
                jumps_left[nodes[-1]] -= 1
                nodes.append(nodes[-1] - self.jump_length)
        return nodes
