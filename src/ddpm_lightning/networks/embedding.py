"""Embeddings of a noise level and a class label as a vector."""

import math

import torch
from torch import Tensor, nn


class Sinusoids(nn.Module):
    """Sines and cosines of a scalar, sines first.

    Args:
        angular_speeds: (dim / 2,), factors of the scalar, computed in float64.
    """

    angular_speeds: Tensor

    def __init__(self, angular_speeds: Tensor) -> None:
        super().__init__()
        self.register_buffer("angular_speeds", angular_speeds.float(), persistent=False)

    def forward(self, level: Tensor) -> Tensor:
        """Level: (B,), float. Returns (B, dim) in float32, values in [-1, 1]."""
        angles = level.float()[:, None] * self.angular_speeds.float()
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class SinusoidalEmbedding(Sinusoids):
    """Sines and cosines of a scalar at geometrically spaced frequencies (Vaswani et al. 2017, section 3.5).

    `scale` maps the conditioning to the range that the frequencies are made for: 1000 for times in [0, 1], so that they
    match the integer steps of Ho et al. 2020.
    """

    def __init__(self, dim: int, scale: float = 1000.0, max_period: float = 10_000.0) -> None:
        half = _half(dim)
        super().__init__(scale * torch.exp(-math.log(max_period) * torch.arange(half, dtype=torch.float64) / half))


class FrequencyBandEmbedding(Sinusoids):
    """Sines and cosines of a scalar at frequencies spaced geometrically over a band (Béres 2022).

    Frequencies are in periods per unit of the scalar, and include both ends of the band.
    """

    def __init__(self, dim: int, min_frequency: float, max_frequency: float) -> None:
        logarithms = torch.linspace(math.log(min_frequency), math.log(max_frequency), _half(dim), dtype=torch.float64)
        super().__init__(2 * math.pi * logarithms.exp())


def _half(dim: int) -> int:
    if dim % 2:
        raise ValueError(f"a sinusoidal embedding needs an even number of dimensions, not {dim}")
    return dim // 2


class ConditionEmbedding(nn.Module):
    """The vector that conditions every residual block, from a noise level and optionally a class label.

    With `num_classes` set, the label of index `num_classes` stands for "no label": label dropout in training and
    classifier-free guidance in sampling use it (Ho & Salimans 2021). The denoiser replaces a missing label by it.

    Args:
        channels: number of sines and cosines of the noise level, even.
        dim: length of the vector.
        num_classes: number of classes, or None without labels.
        span: largest noise level.
    """

    def __init__(self, channels: int, dim: int, num_classes: int | None = None, span: float = 1.0) -> None:
        super().__init__()
        self.noise_level = nn.Sequential(
            SinusoidalEmbedding(channels, scale=1000.0 / span), nn.Linear(channels, dim), nn.SiLU(), nn.Linear(dim, dim)
        )
        self.label = nn.Embedding(num_classes + 1, dim) if num_classes is not None else None

    def forward(self, level: Tensor, label: Tensor | None = None) -> Tensor:
        """Level: (B,); label: (B,) of integers in [0, num_classes], or None without classes. Returns (B, dim)."""
        embedding: Tensor = self.noise_level(level)
        return embedding if self.label is None else embedding + self.label(label)
