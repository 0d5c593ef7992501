"""Denoisers of every kind with a tiny U-Net."""

from collections.abc import Callable

import pytest
import torch

from choices import make
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Target
from ddpm_lightning.networks.unet import UNet
from ddpm_lightning.samplers.sampler import NoiseSource

MakeDenoiser = Callable[..., Denoiser]


@pytest.fixture
def make_denoiser() -> MakeDenoiser:
    """`make_denoiser(target, schedule, **options of the U-Net)`: all weights random, none left at zero."""

    def build(target: Target, schedule: Schedule | None = None, **options: object) -> Denoiser:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            options = {"channels": (8,), "blocks": 1, "attention_levels": ()} | options
            network = UNet((1, 8, 8), 1, **options)
            for parameter in network.parameters():
                torch.nn.init.normal_(parameter, std=0.1)
        return Denoiser(network, schedule or make("schedule", "cosine"), target).eval()

    return build


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def start(generator: torch.Generator) -> torch.Tensor:
    """Two noise images as a start for samplers."""
    return torch.randn(2, 1, 8, 8, generator=generator)


@pytest.fixture
def noise_source() -> Callable[[torch.Size], NoiseSource]:
    """`noise_source(shape)`: noise that differs between steps and repeats in each run."""

    def build(shape: torch.Size) -> NoiseSource:
        return lambda step: torch.randn(shape, generator=torch.Generator().manual_seed(step))

    return build
