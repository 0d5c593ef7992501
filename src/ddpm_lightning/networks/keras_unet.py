"""The residual U-Net of continuous-time DDIM (Béres 2022, keras.io/examples/generative/ddim)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.networks.batch_norm import GlobalBatchNorm2d
from ddpm_lightning.networks.checks import check_levels
from ddpm_lightning.networks.embedding import FrequencyBandEmbedding
from ddpm_lightning.networks.padding import check_size, pad_to_multiple

MIN_FREQUENCY, MAX_FREQUENCY = 1.0, 1000.0
"""Band of the noise variance's sines and cosines, in periods from no noise to noise alone."""


class ResidualBlock(nn.Module):
    """Residual block: batch norm, conv, SiLU, conv; plus a skip connection."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = GlobalBatchNorm2d(in_channels)
        self.conv_in = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv_out = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C_in, H, W). Returns (B, C_out, H, W)."""
        residual: Tensor = self.conv_out(F.silu(self.conv_in(self.norm(x))))
        skip: Tensor = self.skip(x)
        return skip + residual


def residual_blocks(in_channels: Sequence[int], channels: int) -> nn.ModuleList:
    """The residual blocks of one resolution: one for each of `in_channels`, all with `channels` output channels."""
    return nn.ModuleList(ResidualBlock(width, channels) for width in in_channels)


class KerasUNet(nn.Module):
    """Encoder and decoder of residual blocks, conditioned on the noise variance by extra channels.

    Level k works at 1/2^k of the input's resolution with `channels[k]` channels. All levels but the last, which is the
    bottleneck, have an encoder and a decoder. Any height and width are taken: the input is padded with zeros to a
    multiple of 2^(levels-1), and the output is cropped again; padding counts in the statistics of batch normalisation.

    Initialised as in Keras: Glorot's uniform distribution, zero biases, and an output convolution of zeros.

    Args:
        input_shape: (C, H, W) of the input.
        out_channels: number of channels of the output.
        channels: width of each level, from the full resolution down.
        blocks: residual blocks per level, of the encoder and of the decoder; each block of the decoder also
            takes the output of its counterpart in the encoder.
        embedding_dim: number of channels in which the noise variance is embedded; even.

    Raises:
        ValueError: an option is out of range, `embedding_dim` is odd, or the images are too small for so many levels.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        out_channels: int,
        channels: Sequence[int] = (32, 64, 96, 128),
        blocks: int = 2,
        embedding_dim: int = 32,
    ) -> None:
        super().__init__()
        check_levels(channels, blocks)
        if embedding_dim < 2 or embedding_dim % 2:
            raise ValueError(f"model.embedding_dim must be an even number of at least 2, not {embedding_dim}")
        check_size(input_shape, len(channels) - 1)
        self.conditioning = Conditioning.NOISE_VARIANCE
        self.num_classes = None
        self.size_multiple = 2 ** (len(channels) - 1)

        self.embed_noise_variance = FrequencyBandEmbedding(embedding_dim, MIN_FREQUENCY, MAX_FREQUENCY)
        self.conv_in = nn.Conv2d(input_shape[0], channels[0], 1)
        width = channels[0] + embedding_dim
        *outer, innermost = channels
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level_channels in outer:
            self.encoder.append(residual_blocks([width] + [level_channels] * (blocks - 1), level_channels))
            width = level_channels
        self.middle = nn.Sequential(*residual_blocks([width] + [innermost] * (blocks - 1), innermost))
        width = innermost
        for level_channels in reversed(outer):
            inputs = [width] + [level_channels] * (blocks - 1)
            self.decoder.append(residual_blocks([c + level_channels for c in inputs], level_channels))
            width = level_channels
        self.conv_out = nn.Conv2d(width, out_channels, 1)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # every convolution has one
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor | None = None) -> Tensor:
        """x: (B, C, H, W); noise_level: (B,), the noise variance in [0, 1]; label: None.

        Returns (B, out_channels, H, W).

        Raises:
            ValueError: a label is given.
        """
        if label is not None:
            raise ValueError("model=keras_unet takes no class labels: leave them out, or use model=unet")
        height, width = x.shape[-2:]
        h = self.conv_in(pad_to_multiple(x, self.size_multiple))
        embedded = self.embed_noise_variance(noise_level).to(h.dtype)
        noise_channels = embedded[:, :, None, None].expand(-1, -1, *h.shape[-2:])
        # In channels-last format: concatenation with a broadcast vector would give NCHW, in which the first block, at
        # full resolution, is several times slower.
        h = torch.cat([h, noise_channels.contiguous(memory_format=torch.channels_last)], dim=1)
        skips: list[Tensor] = []
        for blocks in self.encoder:
            for block in blocks:  # type: ignore[attr-defined]  # a ModuleList
                h = block(h)
                skips.append(h)
            h = F.avg_pool2d(h, 2)
        h = self.middle(h)
        for blocks in self.decoder:
            h = F.interpolate(h, scale_factor=2.0, mode="bilinear")
            for block in blocks:  # type: ignore[attr-defined]  # a ModuleList
                h = block(torch.cat([h, skips.pop()], dim=1))
        output: Tensor = self.conv_out(h)
        return output[..., :height, :width]
