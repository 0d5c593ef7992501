"""A U-Net of ConvNeXt blocks (Liu et al. 2022), each followed by self-attention."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.networks.checks import check_levels, check_options
from ddpm_lightning.networks.embedding import SinusoidalEmbedding
from ddpm_lightning.networks.layers import SelfAttention, zero_init
from ddpm_lightning.networks.padding import check_size


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, condition added, norm in one group, 3x3 to `expansion` times the width, GELU, 3x3; plus a skip.

    The condition is a linear map of the time's sines and cosines, and another one of the class's vector.
    """

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, time_dim: int, label_dim: int | None
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 7, padding=3, groups=in_channels)
        self.time = nn.Linear(time_dim, in_channels)
        self.label = None if label_dim is None else nn.Linear(label_dim, in_channels)
        self.norm = nn.GroupNorm(1, in_channels)
        self.expand = nn.Conv2d(in_channels, expansion * out_channels, 3, padding=1)
        self.project = nn.Conv2d(expansion * out_channels, out_channels, 3, padding=1)
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None) -> Tensor:
        """x: (B, C_in, H, W); time: (B, time_dim); label: (B, label_dim) or None. Returns (B, C_out, H, W)."""
        condition: Tensor = self.time(time)
        if self.label is not None:
            condition = condition + self.label(label)
        h = self.depthwise(x) + condition[:, :, None, None]
        residual: Tensor = self.project(F.gelu(self.expand(self.norm(h))))
        skip: Tensor = self.skip(x)
        return skip + residual


class Stage(nn.Module):
    """ConvNeXt blocks at one resolution, each followed by self-attention."""

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        expansion: int,
        time_dim: int,
        label_dim: int | None,
        head_channels: int,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConvNeXtBlock(c, channels, expansion, time_dim, label_dim) for c in in_channels)
        self.attentions = nn.ModuleList(SelfAttention(channels, head_channels) for _ in in_channels)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None, skips: Sequence[Tensor] = ()) -> list[Tensor]:
        """The output of every block and its attention; the decoder's blocks also take one of `skips` each."""
        outputs = []
        for number, (block, attention) in enumerate(zip(self.blocks, self.attentions, strict=True)):
            x = attention(block(torch.cat([x, skips[number]], dim=1) if skips else x, time, label))
            outputs.append(x)
        return outputs


class ConvNeXtUNet(nn.Module):
    """Encoder and decoder of ConvNeXt blocks, self-attention after every block, and skip connections.

    Level k works at 1/2^k of the input's resolution, rounded down (28, 14, 7, 3), with `channels[k]` channels. Strided
    convolutions lead down and transposed ones up, to the very size of the encoder's level, so that images of any size
    need no padding. The time is embedded by fixed sines and cosines, the class by a learned vector.

    Args:
        input_shape: (C, H, W) of the input.
        out_channels: number of channels of the output.
        channels: width of each level, from the full resolution down.
        blocks: blocks per level, of the encoder and of the decoder; each block of the decoder also takes the output of
            its counterpart in the encoder.
        expansion: factor by which a block widens, at least 1.
        head_channels: channels per attention head.
        num_classes: number of classes to condition on, or None for an unconditional network.
        conditioning: measure of the noise level that the network is given.

    Raises:
        ValueError: an option is out of range, or the images are too small for so many levels.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        out_channels: int,
        channels: Sequence[int] = (32, 64, 64, 64),
        blocks: int = 1,
        expansion: int = 2,
        head_channels: int = 32,
        num_classes: int | None = None,
        conditioning: Conditioning | str = Conditioning.TIME,
    ) -> None:
        super().__init__()
        check_levels(channels, blocks)
        check_options(len(channels), (), head_channels, 0.0, num_classes)
        if expansion < 1:
            raise ValueError(f"model.expansion must be at least 1, not {expansion}")
        check_size(input_shape, len(channels) - 1)
        self.conditioning = Conditioning(conditioning)
        self.num_classes = num_classes
        dim = 4 * channels[0]
        self.embed_time = SinusoidalEmbedding(dim, scale=1000.0 / self.conditioning.span)
        self.embed_label = None if num_classes is None else nn.Embedding(num_classes + 1, dim)
        label_dim = None if num_classes is None else dim

        def stage(in_channels: Sequence[int], width: int) -> Stage:
            return Stage(in_channels, width, expansion, dim, label_dim, head_channels)

        self.conv_in = nn.Conv2d(input_shape[0], channels[0], 3, padding=1)
        self.encoder, self.down = nn.ModuleList(), nn.ModuleList()
        width = channels[0]
        for level, level_channels in enumerate(channels):
            self.encoder.append(stage([width] + [level_channels] * (blocks - 1), level_channels))
            width = level_channels
            if level < len(channels) - 1:
                self.down.append(nn.Conv2d(width, width, 4, stride=2, padding=1))
        self.middle = stage([width], width)
        self.decoder, self.up = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(channels))):
            width = channels[level]
            self.decoder.append(stage([2 * width] * blocks, width))
            if level > 0:
                self.up.append(nn.ConvTranspose2d(width, channels[level - 1], 4, stride=2, padding=1))
        self.conv_out = zero_init(nn.Conv2d(width, out_channels, 1))

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor | None = None) -> Tensor:
        """x: (B, C, H, W); noise_level: (B,); label: (B,) of integers in [0, num_classes], the last for "no label".

        Returns (B, out_channels, H, W). A network without classes takes no label.
        """
        time = self.embed_time(noise_level)
        vector = None if self.embed_label is None else self.embed_label(label)
        h = self.conv_in(x)
        skips: list[list[Tensor]] = []
        for level, stage in enumerate(self.encoder):
            skips.append(stage(h, time, vector))
            h = skips[-1][-1]
            if level < len(self.down):
                h = self.down[level](h)
        h = self.middle(h, time, vector)[-1]
        for level, stage in enumerate(self.decoder):
            h = stage(h, time, vector, skips.pop()[::-1])[-1]
            if level < len(self.up):
                h = self.up[level](h, output_size=skips[-1][-1].shape[-2:])
        output: Tensor = self.conv_out(h)
        return output
