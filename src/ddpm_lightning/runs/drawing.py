"""Samples of a module: the one way in which every verb and callback draws them."""

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from ddpm_lightning.diffusion.guidance import Guidance
from ddpm_lightning.samplers.generation import SampleStream, chunk_indices
from ddpm_lightning.samplers.labels import LabelsOf
from ddpm_lightning.samplers.sampler import Sampler
from ddpm_lightning.tracking import advance, work
from ddpm_lightning.training.module import DiffusionModule


def sample_stream(
    module: DiffusionModule,
    sampler: Sampler,
    guidance: Guidance,
    seed: int,
    chunk_size: int,
    labels_of: LabelsOf | None = None,
) -> SampleStream:
    """The samples of this module's denoiser, numbered by (seed, index)."""
    return SampleStream(
        denoiser=guidance(module.evaluation_denoiser()),
        sampler=sampler,
        image_shape=module.image_shape,
        seed=seed,
        device=module.device,
        value_range=module.normalizer.value_range,
        labels_of=labels_of,
        chunk_size=chunk_size,
    )


@torch.no_grad()
def draw_images(stream: SampleStream, count: int, module: DiffusionModule, trainer: Trainer) -> Tensor:
    """The samples 0..count-1, (N, C, H, W), uint8, in order, the same on every rank; each rank draws its share.

    Every rank has to call it.
    """
    images = torch.zeros(count, *stream.image_shape, dtype=torch.uint8, device=module.device)
    chunks = chunk_indices(count, stream.chunk_size, trainer.global_rank, trainer.world_size)
    sampler = stream.sampler
    what = f"drawing {count} samples with {sampler.name} in {sampler.steps} steps"
    with trainer.precision_plugin.forward_context(), work(what, len(chunks) * sampler.steps):
        for indices in chunks:
            images[indices] = module.normalizer.to_uint8(stream.draw(indices, lambda state: advance()))
    return gathered_rows(trainer, images)


def gathered_rows(trainer: Trainer, rows: Tensor) -> Tensor:
    """All ranks' rows, on every rank, summed in place: each gives its own, and zeros in the others' places."""
    if trainer.world_size > 1:
        torch.distributed.all_reduce(rows)
    return rows
