"""Small networks, a way to randomise their parameters, and inputs for them."""

from collections.abc import Callable

import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from torch import nn

from choices import config_of
from ddpm_lightning.networks.batch_norm import GlobalBatchNorm2d

Build = Callable[..., nn.Module]
SMALL = {
    "channels": (8, 16, 16),
    "blocks": 1,
    "attention_levels": (2,),
    "head_channels": 8,
    "embedding_dim": 8,
    "groups": 4,
    "hidden": 32,
    "dropout": 0.0,
}
"""Three levels; a network takes the options that its YAML has."""


@pytest.fixture(scope="session")
def small() -> Build:
    """`small(model, input_shape, out_channels=None, **options)`: as many output as input channels by default."""

    def build(model: str, input_shape: tuple[int, ...], out_channels: int | None = None, **options: object):
        torch.manual_seed(0)
        if "channels" in options:
            options = {"attention_levels": (len(options["channels"]) - 1,)} | options
        options = SMALL | {"conditioning": "time"} | options
        written = OmegaConf.to_container(config_of("model", model))
        network = get_class(written.pop("_target_"))  # so that errors are its own, not Hydra's
        options = written | {name: value for name, value in options.items() if name in written}
        return network(input_shape=input_shape, out_channels=out_channels or input_shape[0], **options)

    return build


@pytest.fixture
def unet(small: Build) -> Build:
    """`unet(colours, **options)`: the U-Net for images of so many channels (1 grey, 3 colour)."""
    return lambda colours=1, **options: small("unet", (colours, 28, 28), **options)


@pytest.fixture
def keras_unet(small: Build) -> Build:
    """`keras_unet(colours, **options)`: Keras's U-Net for images of so many channels (1 grey, 3 colour)."""
    return lambda colours=1, **options: small("keras_unet", (colours, 28, 28), **options)


@pytest.fixture
def randomised() -> Callable[[nn.Module], nn.Module]:
    """`randomised(network)`: every parameter and running statistic random, so that no 0 or 1 hides an error."""

    def randomise(network: nn.Module) -> nn.Module:
        torch.manual_seed(1)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.1)
        for module in network.modules():
            if isinstance(module, GlobalBatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2.0)
        return network

    return randomise


@pytest.fixture
def inputs() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """`inputs(B, C, H, W)`: noise and a noise level in [0, 1] for each image."""

    def draw(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(2)
        return torch.randn(*shape, generator=generator), torch.rand(shape[0], generator=generator)

    return draw
