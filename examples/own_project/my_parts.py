"""A network, a schedule and a data set of one's own: one class each, and one YAML file each in `conf/`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ddpm_lightning.data.sources.source import ImageSource
from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.schedules.discrete import DiscreteSchedule
from ddpm_lightning.networks.embedding import ConditionEmbedding


class PlainConvNet(nn.Module):
    """Residual 5x5 convolutions at full resolution, each shifted by an embedding of the noise level and the class.

    Args:
        input_shape: (C, H, W), given by the framework.
        out_channels: number of channels of the output, given by the framework.
        width: number of channels inside.
        depth: number of residual convolutions.
        num_classes: number of classes to condition on, or None.
    """

    def __init__(
        self, input_shape: Sequence[int], out_channels: int, width: int, depth: int, num_classes: int | None = None
    ) -> None:
        super().__init__()
        self.conditioning = Conditioning.TIME  # the measure of the noise level that the network is given
        self.num_classes = num_classes
        self.embed = ConditionEmbedding(width, width, num_classes)
        self.conv_in = nn.Conv2d(input_shape[0], width, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, width), nn.Conv2d(width, width, 5, padding=2), nn.SiLU())
            for _ in range(depth)
        )
        self.conv_out = nn.Conv2d(width, out_channels, 1)

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor | None = None) -> Tensor:
        """x: (B, C, H, W); noise_level: (B,); label: (B,) or None. Returns (B, out_channels, H, W)."""
        shift = self.embed(noise_level, label)[:, :, None, None]
        h = self.conv_in(x)
        for block in self.blocks:
            h = h + block(h + shift.to(h.dtype))
        return self.conv_out(h)


class PowerSchedule(DiscreteSchedule):
    """alpha_bar = (1 - t^power)^2, down to a last step that leaves a thousandth of the one before.

    Args:
        power: above 0; the larger, the later the image disappears.
        num_steps: number of steps of the table.

    Raises:
        ValueError: power is not positive.
    """

    def __init__(self, power: float, num_steps: int = 1000) -> None:
        if power <= 0:
            raise ValueError(f"schedule.power must be positive, not {power}")
        t = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
        alpha_bar = (1 - t**power) ** 2
        super().__init__(1 - (alpha_bar[1:] / alpha_bar[:-1]).clamp(min=1e-3))


class Shapes(ImageSource):
    """White discs (class 0) and squares (class 1) of random size and place, drawn as a function of the row alone.

    Args:
        root: the data folder, which is not needed.
        size: number of images.
        side: height and width in pixels.
    """

    name = "shapes"
    num_classes = 2
    transform = "none"

    def __init__(self, root: str | Path, size: int, side: int) -> None:
        self.image_shape = (1, side, side)
        self._size = size

    def fingerprint(self) -> str:
        return f"shapes, version 1, {self._size} images"

    def labels(self) -> np.ndarray:
        return np.arange(self._size) % 2

    def official_splits(self) -> dict[str, np.ndarray]:
        rows = np.arange(self._size)
        return {"train": rows[rows % 5 > 0], "test": rows[rows % 5 == 0]}

    def read(self, rows: range, images: np.ndarray) -> dict[int, str]:
        side = self.image_shape[1]
        for image, row in zip(images, rows, strict=True):
            radius, x, y = np.random.default_rng(row).uniform([0.1, 0.3, 0.3], [0.3, 0.7, 0.7]) * side
            right, down = np.abs(np.arange(side) - x), np.abs(np.arange(side) - y)[:, None]
            inside = np.hypot(right, down) < radius if row % 2 == 0 else np.maximum(right, down) < radius
            image[0] = 255 * inside
        return {}  # no image is damaged
