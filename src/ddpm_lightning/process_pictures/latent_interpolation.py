"""Samples between samples: spherical interpolation of the noise that they start from."""

from dataclasses import dataclass

import torch

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.pictures import image_grid
from ddpm_lightning.process_pictures.process_picture import Drawn, ProcessPicture
from ddpm_lightning.samplers.generation import SampleStream
from ddpm_lightning.samplers.interpolation import slerp


@dataclass(frozen=True)
class LatentInterpolation(ProcessPicture):
    """A row for each of the samples 0, 1, ...: from it, on the left, to the sample `rows` further, on the right.

    Along a row only the noise that sampling starts from changes; the class and the sampler's own noise are those of the
    sample on the left (Song et al. 2021, "DDIM", section 5.3).

    Args:
        rows: number of pairs, at least 1.
        frames: number of columns, at least 2.

    Raises:
        ValueError: an option is too small.
    """

    rows: int = 6
    frames: int = 9
    name = "interpolation"

    def __post_init__(self) -> None:
        for option, least in (("rows", 1), ("frames", 2)):
            if (value := getattr(self, option)) < least:
                raise ValueError(f"draw.{option} must be at least {least}, not {value}")

    def draw(self, stream: SampleStream, normalizer: Normalizer) -> Drawn:
        left = torch.arange(self.rows)
        weight = torch.linspace(0, 1, self.frames, device=stream.device)
        ends = zip(stream.start(left), stream.start(left + self.rows), strict=True)
        x = torch.cat([slerp(start, end, weight) for start, end in ends])
        samples = stream.draw(left.repeat_interleave(self.frames), start=x)
        return Drawn(image_grid(normalizer.to_uint8(samples), columns=self.frames))
