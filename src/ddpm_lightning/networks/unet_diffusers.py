"""The U-Net of the library diffusers, as a network of this project."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.networks.checks import check_levels, check_options
from ddpm_lightning.networks.padding import check_size, pad_to_multiple

TIMESTEPS = 1000
"""Timesteps of the library's time embedding: its timestep k is the time t = (k + 1) / 1000."""


class DiffusersUNet(nn.Module):
    """`diffusers.UNet2DModel`, which a pipeline of diffusers can use once it is trained (`export.py format=diffusers`).

    Level k works at 1/2^k of the input's resolution with `channels[k]` channels. Any height and width are taken: the
    input is padded with zeros to a multiple of 2^(levels-1), and the output is cropped again. Group normalisation has
    the same number of groups at every level, with a multiple of gcd(16, widths) channels each.

    Args:
        input_shape: (C, H, W) of the input.
        out_channels: number of channels of the output.
        channels: width of each level, from the full resolution down.
        blocks: residual blocks per level of the encoder; the decoder has one more.
        attention_levels: levels followed by self-attention; the bottleneck has it if the last level has.
        head_channels: channels per attention head.
        dropout: probability inside residual blocks, in [0, 1).
        num_classes: number of classes to condition on, or None for an unconditional network.

    Raises:
        ValueError: an option is out of range, the images are too small for so many levels, or the library is missing.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        out_channels: int,
        channels: Sequence[int] = (32, 64, 64),
        blocks: int = 1,
        attention_levels: Sequence[int] = (2,),
        head_channels: int = 64,
        dropout: float = 0.0,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check_levels(channels, blocks)
        check_options(len(channels), attention_levels, head_channels, dropout, num_classes)
        levels = range(len(channels))
        if odd := [channels[level] for level in attention_levels if channels[level] % head_channels]:
            raise ValueError(f"model.head_channels={head_channels} does not divide the {odd[0]} channels of its level")
        check_size(input_shape, len(channels) - 1)
        self.conditioning = Conditioning.TIME
        self.num_classes = num_classes
        self.size_multiple = 2 ** (len(channels) - 1)
        attends = [level in attention_levels for level in levels]
        common = math.gcd(*channels)
        self.unet = diffusers_library().UNet2DModel(
            sample_size=tuple(input_shape[1:]),
            in_channels=input_shape[0],
            out_channels=out_channels,
            block_out_channels=tuple(channels),
            layers_per_block=blocks,
            down_block_types=tuple("AttnDownBlock2D" if attention else "DownBlock2D" for attention in attends),
            up_block_types=tuple("AttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(attends)),
            add_attention=attends[-1],
            attention_head_dim=head_channels,
            norm_num_groups=common // math.gcd(common, 16),
            dropout=dropout,
            num_class_embeds=None if num_classes is None else num_classes + 1,
        )
        for parameter in self.unet.conv_out.parameters():  # as in every network here: training starts from 0
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor | None = None) -> Tensor:
        """x: (B, C, H, W); noise_level: (B,), t in (0, 1]; label: (B,) integers in [0, num_classes], the last for none.

        Returns (B, out_channels, H, W). A network without classes takes no label.
        """
        height, width = x.shape[-2:]
        timestep = TIMESTEPS * noise_level.float() - 1
        output: Tensor = self.unet(pad_to_multiple(x, self.size_multiple), timestep, label).sample
        return output[..., :height, :width]


def diffusers_library() -> Any:
    """The module `diffusers`, imported on use because it is optional and takes seconds.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        raise ValueError("model=unet_diffusers needs: pip install 'ddpm-lightning[diffusers]'") from error
    return diffusers
