"""Panel of noised, predicted and reconstructed images: the truth above, the model below."""

import torch
from torch import Tensor

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.diffusion.denoiser import Denoiser, predict_as_sampled
from ddpm_lightning.diffusion.forward_process import noise_batch
from ddpm_lightning.pictures import image_grid


def process_panel(
    denoiser: Denoiser, normalizer: Normalizer, images: Tensor, eps: Tensor, label: Tensor | None = None
) -> Tensor:
    """Six rows with a column for each image, each at its own time, evenly spaced: (3, H', W'), uint8.

    Rows 1 to 3 are the truth: the noised image (scaled down to unit variance if it has more), the network's target
    (noise, image, velocity, ...), the image. Rows 4 to 6 are the model's: the same noised image, the network's output,
    the image reconstructed from it.

    Args:
        denoiser: the model.
        normalizer: converts between uint8 and the model's range.
        images: (n, C, H, W), uint8.
        eps: shaped as the images, standard normal.
        label: (n,) int64, for a model with classes.
    """
    x_0 = normalizer.to_model(images)
    t = (torch.arange(len(images), device=x_0.device) + 0.5) / len(images)
    noised = noise_batch(denoiser.schedule, x_0, eps, t)
    prediction = predict_as_sampled(denoiser, noised.x_t, t, label, normalizer.clamp)
    shown = noised.rates.input_scale()[:, None, None, None] * noised.x_t
    truth = [shown, denoiser.target(x_0, eps, noised.rates), x_0]
    predicted = [shown, denoiser.target(prediction.x_0, prediction.eps, noised.rates), prediction.x_0]
    return image_grid(normalizer.to_uint8(torch.cat([*truth, *predicted])), columns=len(images))
