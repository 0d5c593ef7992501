"""Turning a noise level and a class label into a vector."""

import math

import torch
from torch import Tensor, nn


class SinusoidalEmbedding(nn.Module):
    """Sines and cosines of a scalar at geometrically spaced frequencies (Vaswani et al. 2017, section 3.5).

    `scale` brings the conditioning to the range the frequencies are made for: 1000 for times in [0, 1], so that they
    match the integer steps of Ho et al. 2020.
    """

    frequencies: Tensor

    def __init__(self, dim: int, scale: float = 1000.0, max_period: float = 10_000.0) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"a sinusoidal embedding needs an even number of dimensions, not {dim}")
        half = dim // 2
        frequencies = scale * torch.exp(-math.log(max_period) * torch.arange(half, dtype=torch.float64) / half)
        self.register_buffer("frequencies", frequencies.float(), persistent=False)

    def forward(self, level: Tensor) -> Tensor:
        """Level: (B,), float. Returns (B, dim) in float32, values in [-1, 1]."""
        angles = level.float()[:, None] * self.frequencies.float()
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class ConditionEmbedding(nn.Module):
    """Noise level, and optionally a class label, to the vector that steers every residual block.

    With `num_classes` set, one more row stands for "no label" (index `num_classes`): label dropout in training and
    classifier-free guidance in sampling use it (Ho & Salimans 2021). `span` is how far the noise level reaches.
    """

    def __init__(self, channels: int, dim: int, num_classes: int | None = None, span: float = 1.0) -> None:
        super().__init__()
        self.noise_level = nn.Sequential(
            SinusoidalEmbedding(channels, scale=1000.0 / span), nn.Linear(channels, dim), nn.SiLU(), nn.Linear(dim, dim)
        )
        self.label = nn.Embedding(num_classes + 1, dim) if num_classes is not None else None

    def forward(self, level: Tensor, label: Tensor | None = None) -> Tensor:
        """Level: (B,); label: (B,) of integers in [0, num_classes], or None for "no label". Returns (B, dim)."""
        embedding: Tensor = self.noise_level(level)
        if self.label is not None:
            if label is None:
                label = torch.full_like(level, self.label.num_embeddings - 1, dtype=torch.long)
            embedding = embedding + self.label(label)
        return embedding
