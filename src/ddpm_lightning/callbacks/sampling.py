"""Sampling from a module in training."""

from lightning.pytorch import Trainer

from ddpm_lightning.diffusion.guidance import Guidance
from ddpm_lightning.samplers.generation import SampleStream
from ddpm_lightning.samplers.sampler import Sampler
from ddpm_lightning.training.module import DiffusionModule


def sample_stream(
    module: DiffusionModule,
    trainer: Trainer,
    sampler: Sampler,
    guidance: Guidance,
    seed: int,
    chunk_size: int = 250,
) -> SampleStream:
    """The samples of this module's denoiser, numbered by (seed, index)."""
    return SampleStream(
        denoiser=guidance(module.evaluation_denoiser()),
        sampler=sampler,
        image_shape=trainer.datamodule.image_shape,  # type: ignore[attr-defined]  # ours, set by fit and test
        seed=seed,
        device=module.device,
        value_range=module.normalizer.value_range,
        num_classes=module.num_classes,
        chunk_size=chunk_size,
    )
