"""Variations of the user's image: noised part of the way, and denoised again (SDEdit, Meng et al. 2022)."""

from dataclasses import dataclass, replace

import torch

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.pictures import image_grid
from ddpm_lightning.process_pictures.image_file import read_image
from ddpm_lightning.process_pictures.process_picture import Drawn, ProcessPicture, label_of_image
from ddpm_lightning.samplers.generation import SampleStream


@dataclass(frozen=True)
class Variations(ProcessPicture):
    """The image, and a row of variations for each time that it is noised to: the later, the less of it is left.

    All steps of the sampler are taken, from that time on.

    Args:
        image: an image file.
        t: times to start from, each above 0 and at most the sampler's t_max.
        count: number of variations in a row, at least 1.

    Raises:
        ValueError: there is no time, or an option is out of range.
    """

    image: str
    t: tuple[float, ...] = (0.25, 0.5, 0.75)
    count: int = 7
    name = "variations"

    def __post_init__(self) -> None:
        if not self.t or not all(0 < t <= 1 for t in self.t):
            raise ValueError(f"draw.t must be times above 0 and at most 1, not {list(self.t)}")
        if self.count < 1:
            raise ValueError(f"draw.count must be at least 1, not {self.count}")

    def draw(self, stream: SampleStream, normalizer: Normalizer) -> Drawn:
        image = read_image(self.image, stream.image_shape).to(stream.device)
        x_0, samples, label = normalizer.to_model(image), torch.arange(self.count), label_of_image(stream, self.count)
        rows = []
        for t in self.t:
            partial = replace(stream, sampler=replace(stream.sampler, t_max=t))
            alpha, sigma = stream.denoiser.schedule.rates(x_0.new_tensor(t))
            results = partial.finish(alpha * x_0 + sigma * stream.start(samples), samples, label)
            rows.append(torch.cat([image[None], normalizer.to_uint8(results)]))
        return Drawn(image_grid(torch.cat(rows), columns=1 + self.count))
