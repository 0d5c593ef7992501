"""Samples by index: sample i is the same image whatever is computed together with it, and wherever."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.randomness import Purpose, keyed_normal
from ddpm_lightning.samplers.labels import LabelsOf, uniform_labels
from ddpm_lightning.samplers.sampler import Sampler, TrajectoryCallback, ValueRange


class Chunk(NamedTuple):
    """Samples computed together: their indices, (n,) int64 on the CPU, and the images, (n, C, H, W), float32."""

    indices: Tensor
    images: Tensor


@dataclass(frozen=True)
class SampleStream:
    """An endless sequence of samples numbered 0, 1, 2, ...; x_T and all noise are keyed by (seed, number).

    Args:
        denoiser: the model, guided or not.
        sampler: the method.
        image_shape: (C, H, W).
        seed: in [0, 2^32).
        device: where to compute.
        value_range: of images inside the model, on `device` where it is tensors.
        labels_of: which class each sample is of, where the denoiser knows classes; all equally often if None.
        chunk_size: how many samples are computed together.
    """

    denoiser: DenoiserLike
    sampler: Sampler
    image_shape: tuple[int, int, int]
    seed: int
    device: torch.device
    value_range: ValueRange = (-1.0, 1.0)
    labels_of: LabelsOf | None = None
    chunk_size: int = 250

    def __post_init__(self) -> None:
        if self.chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, not {self.chunk_size}")

    def labels(self, indices: Tensor) -> Tensor | None:
        """The labels of the samples of these numbers, (n,) int64, or None for a model without classes."""
        if self.denoiser.num_classes is None:
            return None
        labels_of = self.labels_of or uniform_labels(self.denoiser.num_classes)
        return labels_of(indices.to(self.device))

    def draw(self, indices: Tensor, callback: TrajectoryCallback | None = None) -> Tensor:
        """The samples of these numbers, (n, C, H, W), float32, computed in one chunk."""
        items = indices.to(self.device)

        def fresh_noise(step: int) -> Tensor:
            return keyed_normal(self.seed, Purpose.SAMPLER_NOISE, items, self.image_shape, step=step)

        x = keyed_normal(self.seed, Purpose.INITIAL_SAMPLE, items, self.image_shape)
        return self.sampler(self.denoiser, x, fresh_noise, self.labels(indices), self.value_range, callback)

    def chunks(
        self, count: int, rank: int = 0, world_size: int = 1, progress: Callable[[int], None] | None = None
    ) -> Iterator[Chunk]:
        """This rank's chunks of the samples 0..count-1.

        The chunks are cut before they are dealt out, so that a chunk holds the same samples on any number of devices:
        kernels that round differently for another batch size then make no difference. `progress` hears of each chunk's
        size.
        """
        for indices in torch.split(torch.arange(count), self.chunk_size)[rank::world_size]:
            images = self.draw(indices)
            if progress is not None:
                progress(len(indices))
            yield Chunk(indices, images)
