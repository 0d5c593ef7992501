"""The user's image, the noise that DDIM finds for it, and the image that this noise leads back to."""

from dataclasses import dataclass

import torch

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.diffusion.schedule import scalar_time
from ddpm_lightning.pictures import image_grid
from ddpm_lightning.process_pictures.image_file import read_image
from ddpm_lightning.process_pictures.process_picture import Drawn, ProcessPicture, label_of_image
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.generation import SampleStream
from ddpm_lightning.samplers.inversion import ddim_inversion


@dataclass(frozen=True)
class RoundTrip(ProcessPicture):
    """The image, the x_t into which DDIM inverts it, and what DDIM makes of that, without noise and without clipping.

    Only the time grid is that of the sampler in use. The error is the mean distance between the image and what comes
    back, in grey levels of 0 to 255.

    Args:
        image: an image file.
    """

    image: str
    name = "round_trip"

    def draw(self, stream: SampleStream, normalizer: Normalizer) -> Drawn:
        image = read_image(self.image, stream.image_shape).to(stream.device)
        given, denoiser, label = stream.sampler, stream.denoiser, label_of_image(stream, 1)
        ddim = DDIM(given.steps, given.grid, given.t_max, clip=False)
        times = ddim.times(denoiser)
        x = ddim_inversion(denoiser, normalizer.to_model(image)[None], times, label, stream.value_range)
        back = ddim.finish(denoiser, x, stream.noise_source(torch.arange(1)), label, stream.value_range)
        scale = denoiser.schedule.rates(scalar_time(times[0], stream.device)).input_scale()
        shown, returned = normalizer.to_uint8(torch.cat([scale * x, back]))
        error = (returned.float() - image.float()).abs().mean()
        return Drawn(image_grid(torch.stack([image, shown, returned]), columns=3), {"mean_error": float(error)})
