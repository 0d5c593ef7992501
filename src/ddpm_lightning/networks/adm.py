"""The U-Net of "Diffusion Models Beat GANs on Image Synthesis" (Dhariwal & Nichol 2021)."""

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.networks.checks import check_levels, check_options
from ddpm_lightning.networks.embedding import ConditionEmbedding
from ddpm_lightning.networks.layers import SelfAttention, modulate, zero_init
from ddpm_lightning.networks.padding import check_size, pad_to_multiple


class Modulation(StrEnum):
    """Which embeddings scale and shift a normalised feature map."""

    SEPARATE = "separate"  # the time scales, the class shifts
    JOINT = "joint"  # the sum of both embeddings does both (Dhariwal & Nichol 2021, eq. 14)

    @classmethod
    def _missing_(cls, value: object) -> "Modulation":
        raise ValueError(f"unknown model.modulation {value!r}: choose from {', '.join(cls)}")


class ResidualBlock(nn.Module):
    """Residual block with adaptive group normalisation, optionally changing the resolution.

    Norm, SiLU, resampling, conv, norm scaled and shifted by the condition, SiLU, conv; plus a resampled skip.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        condition_dim: int,
        groups: int,
        dropout: float,
        factor: float,
        resample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.factor = factor
        self.resample = nn.Identity() if resample is None else resample
        self.norm_in = nn.GroupNorm(groups, in_channels)
        self.conv_in = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.scale = nn.Linear(condition_dim, out_channels)
        self.shift = nn.Linear(condition_dim, out_channels)
        self.norm_out = nn.GroupNorm(groups, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, scale_condition: Tensor, shift_condition: Tensor) -> Tensor:
        """x: (B, C_in, H, W); conditions: (B, D), already through SiLU. Returns (B, C_out, H', W')."""
        h = self.conv_in(self.resample(F.silu(self.norm_in(x))))
        h = modulate(self.norm_out(h), self.scale(scale_condition), self.shift(shift_condition))
        h = self.conv_out(self.dropout(F.silu(h)))
        output: Tensor = self.factor * (self.skip(self.resample(x)) + h)
        return output


class UNetBlock(nn.Module):
    """A residual block, followed by self-attention where `head_channels` is not None.

    `takes_skip` says whether its input includes a feature map of the encoder.
    """

    def __init__(
        self, block: ResidualBlock, channels: int, head_channels: int | None, groups: int, takes_skip: bool
    ) -> None:
        super().__init__()
        self.block = block
        self.takes_skip = takes_skip
        self.attention = (
            nn.Identity()
            if head_channels is None
            else SelfAttention(channels, head_channels, groups, factor=block.factor)
        )

    def forward(self, x: Tensor, scale_condition: Tensor, shift_condition: Tensor) -> Tensor:
        """x: (B, C_in, H, W). Returns (B, C_out, H', W')."""
        output: Tensor = self.attention(self.block(x, scale_condition, shift_condition))
        return output


def make_block(
    in_channels: int,
    out_channels: int,
    attends: bool,
    resample: nn.Module | None = None,
    takes_skip: bool = False,
    *,
    condition_dim: int,
    head_channels: int,
    groups: int,
    dropout: float,
    factor: float = 1.0,
) -> UNetBlock:
    """A block of these widths; `attends` says whether self-attention follows."""
    residual = ResidualBlock(in_channels, out_channels, condition_dim, groups, dropout, factor, resample)
    return UNetBlock(residual, out_channels, head_channels if attends else None, groups, takes_skip)


def make_encoder(
    block: Callable[..., UNetBlock], channels: Sequence[int], blocks: int, attention_levels: Sequence[int]
) -> tuple[nn.ModuleList, list[int]]:
    """The downsampling half, and the width of each feature map in it, from its input on.

    Args:
        block: `make_block` with all options but the widths, `attends`, `resample` and `takes_skip`.
        channels: width of each level, from the full resolution down.
        blocks: residual blocks per level; between levels there is one that halves the resolution.
        attention_levels: levels whose blocks are followed by self-attention.
    """
    encoder, widths = nn.ModuleList(), [channels[0]]
    for level, width in enumerate(channels):
        for _ in range(blocks):
            encoder.append(block(widths[-1], width, level in attention_levels))
            widths.append(width)
        if level < len(channels) - 1:
            encoder.append(block(width, width, attends=False, resample=nn.AvgPool2d(2)))
            widths.append(width)
    return encoder, widths


def check_groups(groups: int, channels: Sequence[int]) -> None:
    """Raises ValueError unless a normalisation with so many groups can follow every level."""
    if groups < 1 or any(width % groups for width in channels):
        raise ValueError(f"model.groups={groups} must divide all widths in model.channels={list(channels)}")


class ADM(nn.Module):
    """The ablated diffusion model: adaptive group norm, residual blocks that resample, attention at several levels.

    Level k works at 1/2^k of the input's resolution with `channels[k]` channels. Any height and width are taken: the
    input is padded with zeros to a multiple of 2^(levels-1), and the output is cropped again. The decoder has one block
    more per level than the encoder, since it also takes the output of the encoder's resampling.

    With modulation="joint", 1,000 classes and 6 output channels it is the paper's model of 64x64 ImageNet images, plus
    the vector for "no label"; with modulation="separate" it has as many parameters.

    Args:
        input_shape: (C, H, W) of the input.
        out_channels: number of channels of the output.
        channels: width of each level, from the full resolution down.
        blocks: residual blocks per level of the encoder.
        attention_levels: levels whose blocks are followed by self-attention; the bottleneck always has it.
        head_channels: channels per attention head.
        groups: groups of every normalisation.
        dropout: probability inside residual blocks, in [0, 1).
        modulation: "separate": the time scales, and the class shifts (without classes, the time does both); "joint":
            the sum of both embeddings does both, as in the paper.
        rescale_residual: whether to divide the sum of a residual branch and its skip by sqrt(2), in blocks and in
            attention (Y. Song et al. 2021, "Score-Based Generative Modeling through SDEs", appendix H).
        num_classes: number of classes to condition on, or None for an unconditional network.
        conditioning: measure of the noise level that the network is given.

    Raises:
        ValueError: an option is out of range, or the images are too small for so many levels.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        out_channels: int,
        channels: Sequence[int] = (192, 384, 576, 768),
        blocks: int = 3,
        attention_levels: Sequence[int] = (1, 2, 3),
        head_channels: int = 64,
        groups: int = 32,
        dropout: float = 0.1,
        modulation: Modulation | str = Modulation.SEPARATE,
        rescale_residual: bool = False,
        num_classes: int | None = None,
        conditioning: Conditioning | str = Conditioning.TIME,
    ) -> None:
        super().__init__()
        check_levels(channels, blocks)
        check_options(len(channels), attention_levels, head_channels, dropout, num_classes)
        check_groups(groups, channels)
        check_size(input_shape, len(channels) - 1)
        self.conditioning = Conditioning(conditioning)
        self.num_classes = num_classes
        self.modulation = Modulation(modulation)
        self.size_multiple = 2 ** (len(channels) - 1)
        dim = 4 * channels[0]
        self.embed = ConditionEmbedding(channels[0], dim, num_classes, self.conditioning.span)

        block = partial(
            make_block,
            condition_dim=dim,
            head_channels=head_channels,
            groups=groups,
            dropout=dropout,
            factor=math.sqrt(0.5) if rescale_residual else 1.0,
        )
        self.conv_in = nn.Conv2d(input_shape[0], channels[0], 3, padding=1)
        self.encoder, skip_widths = make_encoder(block, channels, blocks, attention_levels)
        width = channels[-1]
        self.middle = nn.ModuleList([block(width, width, attends=True), block(width, width, attends=False)])

        self.decoder = nn.ModuleList()
        for level in reversed(range(len(channels))):
            for _ in range(blocks + 1):
                in_channels = width + skip_widths.pop()
                self.decoder.append(block(in_channels, channels[level], level in attention_levels, takes_skip=True))
                width = channels[level]
            if level > 0:
                self.decoder.append(block(width, width, attends=False, resample=nn.Upsample(scale_factor=2.0)))

        self.norm_out = nn.GroupNorm(groups, width)
        self.conv_out = zero_init(nn.Conv2d(width, out_channels, 3, padding=1))

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor | None = None) -> Tensor:
        """x: (B, C, H, W); noise_level: (B,); label: (B,) of integers in [0, num_classes], the last for "no label".

        Returns (B, out_channels, H, W). A network without classes takes no label.
        """
        conditions = self._conditions(noise_level, label)
        height, width = x.shape[-2:]
        h = self.conv_in(pad_to_multiple(x, self.size_multiple))
        skips = [h]
        for block in self.encoder:
            h = block(h, *conditions)
            skips.append(h)
        for block in self.middle:
            h = block(h, *conditions)
        for block in cast(Sequence[UNetBlock], self.decoder):
            h = block(torch.cat([h, skips.pop()], dim=1) if block.takes_skip else h, *conditions)
        output: Tensor = self.conv_out(F.silu(self.norm_out(h)))
        return output[..., :height, :width]

    def _conditions(self, noise_level: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """The vectors from which blocks compute scale and shift, each (B, D), after SiLU."""
        if self.modulation is Modulation.JOINT or self.embed.label is None:
            joint = F.silu(self.embed(noise_level, label))
            return joint, joint
        return F.silu(self.embed.noise_level(noise_level)), F.silu(self.embed.label(label))
