"""The noise-aware classifier of "Diffusion Models Beat GANs on Image Synthesis" (Dhariwal & Nichol 2021, section 4)."""

from collections.abc import Sequence
from functools import partial

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.networks.adm import check_groups, make_block, make_encoder
from ddpm_lightning.networks.checks import check_levels, check_options
from ddpm_lightning.networks.embedding import ConditionEmbedding
from ddpm_lightning.networks.padding import check_size, pad_to_multiple


class AttentionPool(nn.Module):
    """Pools a feature map by attention, whose one query is the mean over all positions (Radford et al. 2021, "CLIP").

    Args:
        channels: of the feature map.
        positions: number of positions of the feature map, H W.
        head_channels: channels per head.
        out_channels: length of the result.

    Raises:
        ValueError: heads of `head_channels` do not divide the channels.
    """

    def __init__(self, channels: int, positions: int, head_channels: int, out_channels: int) -> None:
        super().__init__()
        if channels % head_channels:
            raise ValueError(f"attention over {channels} channels cannot have heads of {head_channels} channels")
        self.heads = channels // head_channels
        self.position = nn.Parameter(torch.randn(1 + positions, channels) / channels**0.5)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.project = nn.Linear(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W). Returns (B, out_channels)."""
        pixels = rearrange(x, "b c h w -> b (h w) c")
        tokens = torch.cat([pixels.mean(1, keepdim=True), pixels], dim=1) + self.position
        query = rearrange(self.query(tokens[:, :1]), "b t (n d) -> b n t d", n=self.heads)
        key, value = rearrange(self.key_value(tokens), "b t (two n d) -> two b n t d", two=2, n=self.heads)
        pooled = F.scaled_dot_product_attention(query, key, value)
        output: Tensor = self.project(rearrange(pooled, "b n 1 d -> b (n d)"))
        return output


class ADMClassifier(nn.Module):
    """The downsampling half of `ADM`, followed by an attention pool.

    Level k works at 1/2^k of the input's resolution with `channels[k]` channels. Any height and width are taken: the
    input is padded with zeros to a multiple of 2^(levels-1).

    Args:
        input_shape: (C, H, W) of the input.
        num_classes: number of classes, K.
        channels: width of each level, from the full resolution down.
        blocks: residual blocks per level.
        attention_levels: levels whose blocks are followed by self-attention; the coarsest level ends with it anyway.
        head_channels: channels per attention head.
        groups: groups of every normalisation.
        dropout: probability inside residual blocks, in [0, 1).
        conditioning: measure of the noise level that the network is given.

    Raises:
        ValueError: an option is out of range, or the images are too small for so many levels.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (128, 256, 384, 512),
        blocks: int = 4,
        attention_levels: Sequence[int] = (1, 2, 3),
        head_channels: int = 64,
        groups: int = 32,
        dropout: float = 0.0,
        conditioning: Conditioning | str = Conditioning.TIME,
    ) -> None:
        super().__init__()
        check_levels(channels, blocks)
        check_options(len(channels), attention_levels, head_channels, dropout, num_classes)
        check_groups(groups, channels)
        halvings, width, dim = len(channels) - 1, channels[-1], 4 * channels[0]
        check_size(input_shape, halvings)
        self.conditioning = Conditioning(conditioning)
        self.num_classes = num_classes
        self.size_multiple = 2**halvings
        self.embed = ConditionEmbedding(channels[0], dim, span=self.conditioning.span)
        block = partial(make_block, condition_dim=dim, head_channels=head_channels, groups=groups, dropout=dropout)
        self.conv_in = nn.Conv2d(input_shape[0], channels[0], 3, padding=1)
        self.encoder, _ = make_encoder(block, channels, blocks, attention_levels)
        self.middle = nn.ModuleList([block(width, width, attends=True), block(width, width, attends=False)])
        self.norm_out = nn.GroupNorm(groups, width)
        height_out, width_out = (-(-size // self.size_multiple) for size in input_shape[1:])
        self.pool = AttentionPool(width, height_out * width_out, head_channels, num_classes)

    def forward(self, x: Tensor, noise_level: Tensor) -> Tensor:
        """x: (B, C, H, W), of the size it was made for; noise_level: (B,). Returns the logits, (B, K)."""
        condition = F.silu(self.embed(noise_level))
        h = self.conv_in(pad_to_multiple(x, self.size_multiple))
        for block in (*self.encoder, *self.middle):
            h = block(h, condition, condition)
        output: Tensor = self.pool(F.silu(self.norm_out(h)))
        return output
