"""Recorder of the frames of a sampling run."""

import torch
from torch import Tensor

from ddpm_lightning.diffusion.schedule import scalar_time
from ddpm_lightning.samplers.generation import SampleStream
from ddpm_lightning.samplers.sampler import SamplerState


def record_trajectory(stream: SampleStream, indices: Tensor, num_frames: int) -> Tensor:
    """x_t of the samples with these indices at `num_frames` evenly spaced nodes, of which the last are the samples.

    An x_t with more than unit variance is scaled down to unit variance. A grid with fewer nodes gives fewer frames.
    """
    nodes = len(stream.sampler.times(stream.denoiser)) - 1
    wanted = set(torch.linspace(0, nodes, min(num_frames, nodes + 1)).round().int().tolist())
    frames: list[Tensor] = []

    def record(state: SamplerState) -> None:
        if state.step in wanted:
            rates = stream.denoiser.schedule.rates(scalar_time(state.t, state.x_t.device))
            frames.append(rates.input_scale() * state.x_t)

    samples = stream.draw(indices, record)
    return torch.stack([*frames, samples])
