"""A model as a pipeline of diffusers: DDIMPipeline, of a UNet2DModel and a DDIMScheduler."""

from collections.abc import Iterator
from pathlib import Path

import torch

from ddpm_lightning.atomic_files import new_folder
from ddpm_lightning.data.normalizer import SymmetricNormalizer
from ddpm_lightning.diffusion.schedule import Rates, Schedule
from ddpm_lightning.diffusion.target import Image, Noise, Target, Velocity
from ddpm_lightning.networks.unet_diffusers import TIMESTEPS, DiffusersUNet, diffusers_library
from ddpm_lightning.runs.load import Model

PREDICTION_TYPES: dict[type[Target], str] = {Noise: "epsilon", Image: "sample", Velocity: "v_prediction"}
"""Target -> its name in diffusers."""


def check_pipeline(model: Model) -> None:
    """Raises ValueError with every reason why no pipeline would draw the images of this model, if there is any."""
    if reasons := list(_reasons(model)):
        raise ValueError(f"format=diffusers cannot hold this model: {'; '.join(reasons)}")


def _reasons(model: Model) -> Iterator[str]:
    denoiser, network = model.denoiser, model.denoiser.network
    if not isinstance(network, DiffusersUNet):
        yield (
            f"{type(network).__name__} is not diffusers' UNet2DModel (docs/runs.md says what differs): train with "
            "model=unet_diffusers"
        )
    elif any(side % network.size_multiple for side in model.image_shape[1:]):
        height, width = model.image_shape[1:]
        yield (
            f"the pipeline does not pad and crop images as the network does, so that their sides must be multiples of "
            f"{network.size_multiple}, and these are {height}x{width}: train with fewer model.channels"
        )
    if denoiser.self_conditioning:
        yield "DDIMPipeline does not give the network its last estimate: train with self_conditioning=false"
    if denoiser.learns_variance:
        yield "DDIMPipeline has no use for a learned variance: train with variance=fixed_small"
    if denoiser.num_classes is not None:
        yield "DDIMPipeline gives the network no class labels: train with model.num_classes=null"
    if type(denoiser.target) not in PREDICTION_TYPES:
        yield (
            f"DDIMScheduler cannot use a network that predicts {denoiser.target.name}: train with predict=noise, image "
            "or velocity"
        )
    if not _preserves_variance(denoiser.schedule):
        yield (
            f"DDIMScheduler needs alpha² + sigma² = 1, unlike {type(denoiser.schedule).__name__}: train with another "
            "schedule, such as cosine"
        )
    if not isinstance(model.normalizer, SymmetricNormalizer):
        yield "the pipeline takes -1 and 1 for black and white: train with normalizer=symmetric"


def write_pipeline(model: Model, folder: str | Path) -> None:
    """Writes a new folder that `diffusers.DiffusionPipeline.from_pretrained` opens; it appears whole or not at all.

    Called with `pipeline_steps(model)` steps, and `use_clipped_model_output=True` if the model's sampler clips, the
    pipeline draws the images that `sampler=ddim` draws from the same noise, up to rounding.

    Raises:
        FileExistsError: the folder exists and is not empty.
        ValueError: no pipeline would draw this model's images.
    """
    check_pipeline(model)
    library = diffusers_library()
    alpha_bar = _rates(model.denoiser.schedule).alpha.square()[: _start(model) + 1]
    scheduler = library.DDIMScheduler(
        num_train_timesteps=_start(model),
        trained_betas=(1 - alpha_bar[1:] / alpha_bar[:-1]).tolist(),
        clip_sample=model.sampler.clip,
        set_alpha_to_one=True,
        prediction_type=PREDICTION_TYPES[type(model.denoiser.target)],
        timestep_spacing="trailing",
    )
    unet = model.denoiser.network.unet.to(memory_format=torch.contiguous_format)  # type: ignore[union-attr]
    with new_folder(folder) as temporary:
        library.DDIMPipeline(unet, scheduler).save_pretrained(temporary)


def pipeline_steps(model: Model) -> int:
    """The number of the pipeline's steps that is nearest to the sampler's and divides the number of its timesteps.

    With others, diffusers rounds its time grid, so that a step does not end at the time from which the next one starts.
    """
    start = _start(model)
    return min((n for n in range(1, start + 1) if start % n == 0), key=lambda n: abs(n - model.sampler.steps))


def _start(model: Model) -> int:
    """The number of timesteps, of which the last is where sampling starts: not above where this model's own starts."""
    t_max = model.denoiser.t_max if model.sampler.t_max is None else model.sampler.t_max
    return max(1, int(TIMESTEPS * t_max + 1e-6))


def _rates(schedule: Schedule) -> Rates:
    """Alpha and sigma at the times 0, 1/1000, ..., 1, (1001,), float64."""
    return schedule.rates(torch.arange(TIMESTEPS + 1, dtype=torch.float64) / TIMESTEPS)


def _preserves_variance(schedule: Schedule) -> bool:
    std = _rates(schedule).std()
    return bool(torch.allclose(std, torch.ones_like(std), rtol=0, atol=1e-9))
