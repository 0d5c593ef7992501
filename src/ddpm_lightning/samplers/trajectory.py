"""Recorder of the frames of a sampling run."""

from collections.abc import Callable

import torch
from torch import Tensor

from ddpm_lightning.diffusion.schedule import scalar_time
from ddpm_lightning.samplers.generation import SampleStream
from ddpm_lightning.samplers.sampler import SamplerState, TrajectoryCallback


def record_trajectory(stream: SampleStream, indices: Tensor, num_frames: int) -> Tensor:
    """x_t of the samples with these indices at `num_frames` evenly spaced nodes, of which the last are the samples.

    An x_t with more than unit variance is scaled down to unit variance. A grid with fewer nodes gives fewer frames.
    """
    return record_frames(stream, num_frames, lambda record: stream.draw(indices, record))


def record_frames(stream: SampleStream, num_frames: int, draw: Callable[[TrajectoryCallback], Tensor]) -> Tensor:
    """As `record_trajectory`, of the sampling that `draw` does with the stream's sampler and the given callback."""
    wanted = frame_nodes(stream.sampler.steps, num_frames)
    frames: list[Tensor] = []

    def record(state: SamplerState) -> None:
        if state.step in wanted:
            rates = stream.denoiser.schedule.rates(scalar_time(state.t, state.x_t.device))
            frames.append(rates.input_scale() * state.x_t)

    samples = draw(record)
    return torch.stack([*frames, samples])


def frame_nodes(steps: int, num_frames: int) -> list[int]:
    """The nodes, of 0 to `steps`, that are shown in `num_frames` frames, or fewer."""
    return torch.linspace(0, steps, min(num_frames, steps + 1)).round().int().tolist()  # type: ignore[no-any-return]
