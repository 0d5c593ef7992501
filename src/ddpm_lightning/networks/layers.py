"""Layers that several networks share."""

import math
from typing import TypeVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

ModuleType = TypeVar("ModuleType", bound=nn.Module)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with groups of 16 channels (fewer where 16 does not divide the width).

    Wide groups are fast: torch's channels-last kernels on the CPU vectorise over the channels of a group, and groups of
    4 take twenty times as long in bf16 as groups of 16.
    """
    return nn.GroupNorm(channels // math.gcd(channels, 16), channels)


def zero_init(module: ModuleType) -> ModuleType:
    """Sets every parameter to zero, so that a residual branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def modulate(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Scales and shifts each channel: h (1 + scale) + shift, in the dtype of h.

    h: (B, C, H, W); scale, shift: (B, C).
    """
    scale, shift = (part[:, :, None, None].to(h.dtype) for part in (1 + scale, shift))
    return torch.addcmul(shift, h, scale)


class SelfAttention(nn.Module):
    """Multi-head attention over all positions of a feature map, as a residual branch (Vaswani et al. 2017).

    Args:
        channels: of the feature map.
        head_channels: channels per head.
        groups: of the normalisation; None for groups of 16 channels.
        factor: of the sum of both branches.

    Raises:
        ValueError: heads of `head_channels` do not divide the channels.
    """

    def __init__(self, channels: int, head_channels: int, groups: int | None = None, factor: float = 1.0) -> None:
        super().__init__()
        if channels % head_channels:
            raise ValueError(f"attention over {channels} channels cannot have heads of {head_channels} channels")
        self.heads = channels // head_channels
        self.factor = factor
        self.norm = group_norm(channels) if groups is None else nn.GroupNorm(groups, channels)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.project = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W); returns the same shape."""
        q, k, v = rearrange(
            self.query_key_value(self.norm(x)), "b (three n d) h w -> three b n (h w) d", three=3, n=self.heads
        )
        if x.device.type == "cpu":
            # On the CPU the backward pass of the bf16 kernel takes five times as long as that of the float32 one.
            with torch.autocast("cpu", enabled=False):
                attended = F.scaled_dot_product_attention(q.float(), k.float(), v.float()).to(q.dtype)
        else:
            attended = F.scaled_dot_product_attention(q, k, v)
        residual: Tensor = self.project(rearrange(attended, "b n (h w) d -> b (n d) h w", h=x.shape[-2]))
        return self.factor * (x + residual)
