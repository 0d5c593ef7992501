"""The user's image with a part of it filled in by the model."""

from dataclasses import dataclass

import torch

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.pictures import image_grid
from ddpm_lightning.process_pictures.image_file import read_image, read_mask
from ddpm_lightning.process_pictures.process_picture import Drawn, ProcessPicture, label_of_image
from ddpm_lightning.samplers.generation import SampleStream
from ddpm_lightning.samplers.inpainting import RePaint


@dataclass(frozen=True)
class Inpainted(ProcessPicture):
    """The image, then the image without what is to be filled in, then several ways to fill it in (see `RePaint`).

    Args:
        image: an image file.
        mask: an image file of the size of the model's images: black where the image is known, white elsewhere.
        count: number of results, at least 1.
        jump_length: number of steps that are taken back at once, at least 1.
        resamplings: number of times that each group of steps is taken, at least 1.

    Raises:
        ValueError: an option is below 1.
    """

    image: str
    mask: str
    count: int = 7
    jump_length: int = 10
    resamplings: int = 10
    name = "inpainted"

    def __post_init__(self) -> None:
        for option in ("count", "jump_length", "resamplings"):
            if (value := getattr(self, option)) < 1:
                raise ValueError(f"draw.{option} must be at least 1, not {value}")

    def draw(self, stream: SampleStream, normalizer: Normalizer) -> Drawn:
        image = read_image(self.image, stream.image_shape).to(stream.device)
        known = read_mask(self.mask, stream.image_shape).to(stream.device)
        repaint = RePaint(self.jump_length, self.resamplings)
        label = label_of_image(stream, self.count)
        results = repaint(stream, torch.arange(self.count), normalizer.to_model(image), known, label)
        masked = torch.where(known, image, 128)
        shown = torch.cat([torch.stack([image, masked]), normalizer.to_uint8(results)])
        return Drawn(image_grid(shown, columns=min(len(shown), 9)))
