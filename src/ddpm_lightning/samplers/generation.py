"""Samples by index: sample i is the same image in any chunk and on any device."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ddpm_lightning.diffusion.classifier_guidance import check_images
from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.randomness import Purpose, keyed_normal
from ddpm_lightning.diffusion.target import ValueRange
from ddpm_lightning.samplers.labels import LabelsOf, uniform_labels
from ddpm_lightning.samplers.sampler import NoiseSource, Sampler, TrajectoryCallback


@dataclass(frozen=True)
class SampleStream:
    """An infinite sequence of samples with the indices 0, 1, 2, ...; x_T and all noise are keyed by (seed, index).

    Args:
        denoiser: the model, with or without guidance.
        sampler: the method to sample with.
        image_shape: (C, H, W).
        seed: in [0, 2^32).
        device: device to compute on.
        value_range: range of images inside the model; tensors must be on `device`.
        labels_of: the class of each sample, if the denoiser knows classes; None for all classes equally often.
        chunk_size: number of samples computed together, at least 1.

    Raises:
        ValueError: `chunk_size` is below 1, or the denoiser is guided by a classifier of other images.
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
        check_images(self.denoiser, self.image_shape, self.value_range)

    def labels(self, indices: Tensor) -> Tensor | None:
        """The labels (n,) int64 of the samples with these indices, or None for a model without classes."""
        if self.denoiser.num_classes is None:
            return None
        labels_of = self.labels_of or uniform_labels(self.denoiser.num_classes)
        return labels_of(indices.to(self.device))

    def start(self, indices: Tensor) -> Tensor:
        """The standard normal noise, (n, C, H, W), from which the samples with these indices start."""
        return keyed_normal(self.seed, Purpose.INITIAL_SAMPLE, indices.to(self.device), self.image_shape)

    def noise_source(self, indices: Tensor, purpose: Purpose = Purpose.SAMPLER_NOISE) -> NoiseSource:
        """The noise that is drawn for these samples on the way; independent of that for other purposes."""
        items = indices.to(self.device)
        return lambda step: keyed_normal(self.seed, purpose, items, self.image_shape, step=step)

    def draw(self, indices: Tensor, callback: TrajectoryCallback | None = None, start: Tensor | None = None) -> Tensor:
        """The samples with these indices, (n, C, H, W), float32, computed in one chunk.

        With `start`, (n, C, H, W), standard normal, they start from that instead of their own noise.
        """
        x, noise_source = self.start(indices) if start is None else start, self.noise_source(indices)
        return self.sampler(self.denoiser, x, noise_source, self.labels(indices), self.value_range, callback)

    def finish(
        self, x: Tensor, indices: Tensor, label: Tensor | None, callback: TrajectoryCallback | None = None
    ) -> Tensor:
        """The images, (n, C, H, W), float32, to which sampling leads from x at the sampler's t_max.

        x: (n, C, H, W); indices: (n,), of the samples whose noise is used on the way; label: (n,) int64, or None.
        """
        noise_source = self.noise_source(indices)
        return self.sampler.finish(self.denoiser, x, noise_source, label, self.value_range, callback)


def chunk_indices(count: int, chunk_size: int, rank: int, world_size: int) -> tuple[Tensor, ...]:
    """This rank's chunks of the indices 0..count-1, each (n,) int64 with n at most `chunk_size`.

    The indices are cut into chunks before the chunks are dealt to ranks, so a chunk holds the same samples on any
    number of devices, even where kernels round differently for another batch size.
    """
    return torch.arange(count).split(chunk_size)[rank::world_size]
