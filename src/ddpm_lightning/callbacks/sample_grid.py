"""Picture of samples from the same noise at every validation, so that one can watch them improve."""

from dataclasses import dataclass

from lightning.pytorch import Trainer
from torch import Tensor

from ddpm_lightning.callbacks.periodic_picture import PeriodicPicture
from ddpm_lightning.diffusion.guidance import Guidance
from ddpm_lightning.pictures import grid_by_class
from ddpm_lightning.runs.drawing import draw_images, sample_stream
from ddpm_lightning.samplers.sampler import Sampler
from ddpm_lightning.training.module import DiffusionModule


@dataclass(eq=False)
class SampleGrid(PeriodicPicture):
    """A grid of the samples 0, 1, 2, ... of a seed, with a row for each class if the model is class-conditional.

    Args:
        sampler: the method to sample with.
        guidance: wraps the denoiser.
        num_samples: number of images in the grid.
        seed: seed of the samples; sample i starts from the same noise in every picture, and in scores with this seed.
        chunk_size: number of samples computed together.

    Raises:
        ValueError: an option is out of range.
    """

    name = "samples"

    sampler: Sampler
    guidance: Guidance
    num_samples: int = 36
    seed: int = 0
    chunk_size: int = 250

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, least in (("num_samples", 1), ("chunk_size", 1), ("seed", 0)):
            if (value := getattr(self, option)) < least:
                raise ValueError(f"callbacks.sample_grid.{option} must be at least {least}, not {value}")

    def draw(self, trainer: Trainer, module: DiffusionModule) -> Tensor:
        stream = sample_stream(module, self.sampler, self.guidance, self.seed, self.chunk_size)
        return grid_by_class(draw_images(stream, self.num_samples, module, trainer), stream.denoiser.num_classes)
