"""Picture of samples from the same noise at every validation, so that one can watch them improve."""

from lightning.pytorch import Trainer
from torch import Tensor

from ddpm_lightning.callbacks.periodic_picture import PeriodicPicture
from ddpm_lightning.diffusion.guidance import Guidance
from ddpm_lightning.pictures import image_grid
from ddpm_lightning.runs.drawing import draw_images, sample_stream
from ddpm_lightning.samplers.sampler import Sampler
from ddpm_lightning.training.module import DiffusionModule


class SampleGrid(PeriodicPicture):
    """A grid of the samples 0, 1, 2, ... of a seed.

    Args:
        sampler: the method to sample with.
        guidance: wraps the denoiser.
        num_samples: number of images in the grid.
        seed: seed of the samples; sample i starts from the same noise in every picture, and in scores with this seed.
        chunk_size: number of samples computed together.
        every_n_epochs: epochs from one picture to the next, at least 1.
    """

    name = "samples"

    def __init__(
        self,
        sampler: Sampler,
        guidance: Guidance,
        num_samples: int = 36,
        seed: int = 0,
        chunk_size: int = 250,
        every_n_epochs: int = 1,
    ) -> None:
        super().__init__(every_n_epochs)
        self.sampler = sampler
        self.guidance = guidance
        self.num_samples = num_samples
        self.seed = seed
        self.chunk_size = chunk_size

    def draw(self, trainer: Trainer, module: DiffusionModule) -> Tensor:
        stream = sample_stream(module, self.sampler, self.guidance, self.seed, self.chunk_size)
        return image_grid(draw_images(stream, self.num_samples, module, trainer))
