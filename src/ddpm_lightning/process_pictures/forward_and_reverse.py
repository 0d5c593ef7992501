"""The user's image on its way into noise, and the model's way back from that very noise."""

from dataclasses import dataclass

import torch

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.pictures import image_grid
from ddpm_lightning.process_pictures.forward_strips import scaled_strip
from ddpm_lightning.process_pictures.image_file import read_image
from ddpm_lightning.process_pictures.process_picture import Drawn, ProcessPicture, label_of_image
from ddpm_lightning.samplers.generation import SampleStream
from ddpm_lightning.samplers.trajectory import frame_nodes, record_frames


@dataclass(frozen=True)
class ForwardAndReverse(ProcessPicture):
    """Above, the forward process from the image on the left to noise on the right; below, the reverse one.

    The reverse strip starts, on the right, from the x_t in which the forward strip ends. Each column is at one time.

    Args:
        image: an image file.
        frames: number of columns, at least 2.

    Raises:
        ValueError: there are fewer than two frames.
    """

    image: str
    frames: int = 11
    name = "forward_and_reverse"

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ValueError(f"draw.frames must be at least 2, not {self.frames}")

    def draw(self, stream: SampleStream, normalizer: Normalizer) -> Drawn:
        x_0 = normalizer.to_model(read_image(self.image, stream.image_shape).to(stream.device))
        sample = torch.arange(1)
        eps, label = stream.start(sample), label_of_image(stream, 1)
        times = stream.sampler.times(stream.denoiser)
        t = x_0.new_tensor([times[node] for node in frame_nodes(stream.sampler.steps, self.frames)])
        forward = scaled_strip(stream.denoiser.schedule, x_0, eps[0], t)
        alpha, sigma = stream.denoiser.schedule.rates(t[0])
        x_t = alpha * x_0 + sigma * eps
        reverse = record_frames(stream, self.frames, lambda record: stream.finish(x_t, sample, label, record))[:, 0]
        rows = torch.cat([forward.flip(0), reverse.flip(0)])
        return Drawn(image_grid(normalizer.to_uint8(rows), columns=len(t)))
