"""Small networks, the same ones with nothing left at zero, and inputs for them."""

from collections.abc import Callable

import pytest
import torch
from ddpm_lightning.networks.ddim_resnet import DDIMResNet
from torch import nn

from ddpm_lightning.networks.batch_norm import GlobalBatchNorm2d
from ddpm_lightning.networks.unet import UNet


@pytest.fixture
def unet() -> Callable[..., UNet]:
    """`unet(in_channels, **options)`: three levels, attention at the coarsest."""

    def build(in_channels: int = 1, **options: object) -> UNet:
        torch.manual_seed(0)
        options = {"channels": (8, 16, 16), "blocks": 1, "head_channels": 8} | options
        return UNet(in_channels, **{"attention_levels": (len(options["channels"]) - 1,)} | options)

    return build


@pytest.fixture
def ddim_resnet() -> Callable[..., DDIMResNet]:
    """`ddim_resnet(in_channels, **options)`: three levels."""

    def build(in_channels: int = 1, **options: object) -> DDIMResNet:
        torch.manual_seed(0)
        return DDIMResNet(in_channels, **{"channels": (8, 12, 16), "blocks": 1, "embedding_dim": 8} | options)

    return build


@pytest.fixture
def randomised() -> Callable[[nn.Module], nn.Module]:
    """`randomised(network)`: every parameter and running statistic random, so that nothing hides behind a 0 or a 1."""

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
