"""A U-Net with adaptive group normalisation (Ho et al. 2020; Nichol & Dhariwal 2021; Dhariwal & Nichol 2021)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.networks.checks import check_levels, check_options
from ddpm_lightning.networks.embedding import ConditionEmbedding
from ddpm_lightning.networks.layers import SelfAttention, group_norm, modulate, zero_init
from ddpm_lightning.networks.padding import check_size, pad_to_multiple


class ResidualBlock(nn.Module):
    """Residual block: norm, SiLU, conv, norm scaled and shifted by the condition, SiLU, conv; plus a skip."""

    def __init__(self, in_channels: int, out_channels: int, condition_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm_in = group_norm(in_channels)
        self.conv_in = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm_out = group_norm(out_channels)
        self.scale_shift = nn.Linear(condition_dim, 2 * out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x: (B, C_in, H, W); condition: (B, D), already through SiLU. Returns (B, C_out, H, W)."""
        h = self.conv_in(F.silu(self.norm_in(x)))
        scale, shift = self.scale_shift(condition).chunk(2, dim=1)
        h = modulate(self.norm_out(h), scale, shift)
        residual: Tensor = self.conv_out(self.dropout(F.silu(h)))
        skip: Tensor = self.skip(x)
        return skip + residual


class Level(nn.Module):
    """Residual blocks at one resolution, each followed by attention if `head_channels` is not None."""

    def __init__(
        self, in_channels: Sequence[int], channels: int, condition_dim: int, dropout: float, head_channels: int | None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(c, channels, condition_dim, dropout) for c in in_channels)
        self.attentions = nn.ModuleList(
            nn.Identity() if head_channels is None else SelfAttention(channels, head_channels) for _ in in_channels
        )

    def __iter__(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Each residual block with the attention that follows it."""
        return zip(self.blocks, self.attentions, strict=True)


class UNet(nn.Module):
    """Encoder and decoder of residual blocks with skip connections between equal resolutions.

    Level k works at 1/2^k of the input's resolution with `channels[k]` channels. Any height and width are taken: the
    input is padded with zeros to a multiple of 2^(levels-1), and the output is cropped again.

    Args:
        input_shape: (C, H, W) of the input.
        out_channels: number of channels of the output.
        channels: width of each level, from the full resolution down.
        blocks: residual blocks per level, of the encoder and of the decoder; each block of the decoder also
            takes the output of its counterpart in the encoder.
        attention_levels: levels followed by self-attention; the bottleneck has it whenever the last level has.
        head_channels: channels per attention head.
        dropout: probability inside residual blocks, in [0, 1).
        num_classes: number of classes to condition on, or None for an unconditional network.
        conditioning: measure of the noise level that the network is given.

    Raises:
        ValueError: an option is out of range, or the images are too small for so many levels.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256),
        blocks: int = 2,
        attention_levels: Sequence[int] = (2,),
        head_channels: int = 64,
        dropout: float = 0.0,
        num_classes: int | None = None,
        conditioning: Conditioning | str = Conditioning.TIME,
    ) -> None:
        super().__init__()
        check_levels(channels, blocks)
        check_options(len(channels), attention_levels, head_channels, dropout, num_classes)
        check_size(input_shape, len(channels) - 1)
        self.conditioning = Conditioning(conditioning)
        self.num_classes = num_classes
        self.size_multiple = 2 ** (len(channels) - 1)
        dim = 4 * channels[0]
        self.embed_condition = ConditionEmbedding(channels[0], dim, num_classes, self.conditioning.span)
        heads = [head_channels if level in attention_levels else None for level in range(len(channels))]

        self.conv_in = nn.Conv2d(input_shape[0], channels[0], 3, padding=1)
        self.encoder, self.downsample = nn.ModuleList(), nn.ModuleList()
        width = channels[0]
        for level, level_channels in enumerate(channels):
            inputs = [width] + [level_channels] * (blocks - 1)
            self.encoder.append(Level(inputs, level_channels, dim, dropout, heads[level]))
            width = level_channels
            if level < len(channels) - 1:
                self.downsample.append(nn.Conv2d(width, width, 3, stride=2, padding=1))

        self.middle = Level([width, width], width, dim, dropout, None)
        self.middle_attention = nn.Identity() if heads[-1] is None else SelfAttention(width, head_channels)

        self.decoder, self.upsample = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(channels))):
            width = channels[level]
            self.decoder.append(Level([2 * width] * blocks, width, dim, dropout, heads[level]))
            if level > 0:
                # Narrowing here instead of in the next block halves the cost of the most expensive resolution.
                self.upsample.append(nn.Conv2d(width, channels[level - 1], 3, padding=1))
                width = channels[level - 1]

        self.norm_out = group_norm(width)
        self.conv_out = zero_init(nn.Conv2d(width, out_channels, 3, padding=1))

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor | None = None) -> Tensor:
        """x: (B, C, H, W); noise_level: (B,); label: (B,) of integers in [0, num_classes], the last for "no label".

        Returns (B, out_channels, H, W). A network without classes takes no label.
        """
        condition = F.silu(self.embed_condition(noise_level, label))
        height, width = x.shape[-2:]
        h = self.conv_in(pad_to_multiple(x, self.size_multiple))
        skips: list[Tensor] = []
        for level, stage in enumerate(cast(Iterable[Level], self.encoder)):
            for block, attention in stage:
                h = attention(block(h, condition))
                skips.append(h)
            if level < len(self.downsample):
                h = self.downsample[level](h)
        h = self.middle.blocks[0](h, condition)
        h = self.middle.blocks[1](self.middle_attention(h), condition)
        for level, stage in enumerate(cast(Iterable[Level], self.decoder)):
            for block, attention in stage:
                h = attention(block(torch.cat([h, skips.pop()], dim=1), condition))
            if level < len(self.upsample):
                h = self.upsample[level](F.interpolate(h, scale_factor=2.0, mode="nearest"))
        output: Tensor = self.conv_out(F.silu(self.norm_out(h)))
        return output[..., :height, :width]
