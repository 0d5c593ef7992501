"""A model of Gaussian data with a known denoiser, and the pictures that it draws."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ddpm_lightning.data.normalizer import SymmetricNormalizer
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.process_pictures.process_picture import ProcessPicture
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.generation import SampleStream
from ddpm_lightning.samplers.sampler import Sampler
from samplers.gaussian import IMAGE_SHAPE, GaussianDenoiser

PIXELS = [[200, 40], [90, 160]]


@pytest.fixture
def image_file(tmp_path: Path) -> str:
    """An image of the model's size."""
    Image.fromarray(np.array(PIXELS, np.uint8)).save(tmp_path / "image.png")
    return str(tmp_path / "image.png")


@pytest.fixture
def stream_of() -> Callable[..., SampleStream]:
    """`stream_of(sampler, denoiser)`: its samples."""

    def make(sampler: Sampler | None = None, denoiser: object = None, **options: object) -> SampleStream:
        denoiser = denoiser or GaussianDenoiser(CosineSchedule())
        return SampleStream(denoiser, sampler or DDIM(20, t_max=0.98), IMAGE_SHAPE, 0, torch.device("cpu"), **options)

    return make


@pytest.fixture
def cells_of(stream_of: Callable[..., SampleStream]) -> Callable[..., Tensor]:
    """`cells_of(picture, columns, stream)`: the images in the grid that it draws, (rows, columns, H, W), uint8."""

    def draw(picture: ProcessPicture, columns: int, stream: SampleStream | None = None) -> Tensor:
        grid = picture.draw(stream or stream_of(), SymmetricNormalizer(1)).picture[0]
        size, padding = 64, 32  # images of 2 x 2 pixels are enlarged 32 times
        rows = grid[padding:].unfold(0, size, size + padding)
        cells = rows[:, padding:].unfold(1, size, size + padding)[..., ::32, ::32]
        assert cells.shape[1] == columns
        return cells

    return draw
