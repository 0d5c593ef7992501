"""Heat map of the sines and cosines by which a network knows the noise level."""

from dataclasses import dataclass

import torch

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.diffusion.denoiser import Denoiser, DenoiserLike
from ddpm_lightning.networks.embedding import Sinusoids
from ddpm_lightning.process_pictures.figure import figure_picture, new_figure
from ddpm_lightning.process_pictures.process_picture import Drawn, ProcessPicture
from ddpm_lightning.samplers.generation import SampleStream

TIMES = 201


@dataclass(frozen=True)
class NoiseEmbedding(ProcessPicture):
    """The network's embedding of the noise level, (time, channel), from t_min below to 1 above."""

    name = "noise_embedding"

    def draw(self, stream: SampleStream, normalizer: Normalizer) -> Drawn:
        denoiser = _innermost(stream.denoiser)
        embedding = next((part for part in denoiser.network.modules() if isinstance(part, Sinusoids)), None)
        if embedding is None:
            name = type(denoiser.network).__name__
            raise ValueError(f"draw=noise_embedding shows sines and cosines of the noise level, and {name} has none")
        t = torch.linspace(denoiser.schedule.t_min, 1, TIMES, device=stream.device)
        values = embedding(denoiser.conditioning.noise_level(denoiser.schedule, t))
        figure = new_figure(7, 4)
        axes = figure.subplots()
        extent = (0, values.shape[1], float(t[0]), 1)
        image = axes.imshow(values.cpu().numpy(), "RdBu", aspect="auto", origin="lower", extent=extent, vmin=-1, vmax=1)
        axes.set(xlabel="channel: sines, then cosines", ylabel="t", title=f"embedding of {denoiser.conditioning}")
        figure.colorbar(image)
        return Drawn(figure_picture(figure))


def _innermost(denoiser: DenoiserLike) -> Denoiser:
    """The denoiser that all guidance wraps."""
    while not isinstance(denoiser, Denoiser):
        denoiser = denoiser.denoiser  # type: ignore[attr-defined]  # a guidance
    return denoiser
