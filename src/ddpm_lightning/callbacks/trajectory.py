"""Picture of a few samples on their way from noise to image."""

from dataclasses import dataclass

import torch
from einops import rearrange
from lightning.pytorch import Trainer
from torch import Tensor

from ddpm_lightning.callbacks.periodic_picture import PeriodicPicture
from ddpm_lightning.diffusion.guidance import Guidance
from ddpm_lightning.pictures import image_grid
from ddpm_lightning.runs.drawing import sample_stream
from ddpm_lightning.samplers.sampler import Sampler
from ddpm_lightning.samplers.trajectory import record_trajectory
from ddpm_lightning.training.module import DiffusionModule

NUM_FRAMES = 10


@dataclass(eq=False)
class DenoisingTrajectory(PeriodicPicture):
    """One row per sample with `NUM_FRAMES` frames, from noise on the left to the image on the right.

    A sampler with fewer steps gives fewer frames.

    Args:
        sampler: the method to sample with.
        guidance: wraps the denoiser.
        num_samples: number of rows.
        seed: seed of the samples, which are those of a sample grid with the same seed.

    Raises:
        ValueError: an option is out of range.
    """

    name = "trajectory"

    sampler: Sampler
    guidance: Guidance
    num_samples: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, least in (("num_samples", 1), ("seed", 0)):
            if (value := getattr(self, option)) < least:
                raise ValueError(f"callbacks.trajectory.{option} must be at least {least}, not {value}")

    def draw(self, trainer: Trainer, module: DiffusionModule) -> Tensor:
        stream = sample_stream(module, self.sampler, self.guidance, self.seed, self.num_samples)
        frames = record_trajectory(stream, torch.arange(self.num_samples), NUM_FRAMES)
        by_row = rearrange(frames, "frame n c h w -> (n frame) c h w")
        return image_grid(module.normalizer.to_uint8(by_row), columns=len(frames))
