"""Gradients are bilinear between their corners and depend on (seed, number) alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import chisquare
from torch.nn.functional import interpolate

from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.data.sources.gradients import GradientsSource, between_corners, corner_colours
from ddpm_lightning.data.sources.source import ImageSource
from ddpm_lightning.data.split import OfficialSplit

SHAPE = (3, 5, 8)
SIZES: dict[str, Any] = {"root": "nowhere", "channels": 3, "height": 5, "width": 8}


def images_of(source: ImageSource) -> np.ndarray:
    images = np.empty((len(source.labels()), *source.image_shape), np.uint8)
    assert source.read(range(len(images)), images) == {}
    return images


@pytest.mark.parametrize(("height", "width"), [(5, 8), (32, 32), (1, 7), (3, 1)])
def test_pixels_are_the_interpolation_that_scipy_computes(height: int, width: int) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2, 3, 2, 2), np.uint8)
    images = between_corners(colours, height, width)
    assert images.shape == (2, 3, height, width) and images.dtype == np.uint8
    points = np.stack(np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij"), axis=-1)
    for image, corners in zip(images.reshape(6, height, width), colours.reshape(6, 2, 2).astype(float), strict=True):
        exact = RegularGridInterpolator(([0, 1], [0, 1]), corners)(points)
        assert np.abs(image - exact).max() <= 0.5 + 1e-4


def test_pixels_are_the_interpolation_that_torch_computes() -> None:
    colours = corner_colours(np.arange(50), 3, seed=1)
    exact = interpolate(torch.from_numpy(colours).double(), (9, 6), mode="bilinear", align_corners=True).numpy()
    images = between_corners(colours, 9, 6)
    assert np.abs(images - exact).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(images[..., [0, 0, -1, -1], [0, -1, 0, -1]], colours.reshape(50, 3, 4))


@pytest.mark.parametrize("channels", [1, 3, 9])  # 9: more bytes than the generator gives at once
def test_an_image_depends_on_seed_and_number_alone(channels: int) -> None:
    together = corner_colours(np.arange(1000), channels, seed=3)
    order = np.random.default_rng(0).permutation(1000)
    np.testing.assert_array_equal(corner_colours(order, channels, seed=3), together[order])
    np.testing.assert_array_equal(corner_colours(np.array([7, 7, 8, 3]), channels, seed=3), together[[7, 7, 8, 3]])
    assert len(np.unique(together.reshape(1000, -1), axis=0)) == 1000
    assert (corner_colours(np.arange(1000), channels, seed=4) != together).mean() > 0.99
    assert corner_colours(np.array([2**62]), channels, seed=3).shape == (1, channels, 2, 2)
    assert corner_colours(np.array([], np.int64), channels, seed=3).shape == (0, channels, 2, 2)


def test_colours_are_uniform_and_independent() -> None:
    colours = corner_colours(np.arange(20_000), 3, seed=0).reshape(-1, 12)
    for corner in colours.T:
        assert chisquare(np.bincount(corner, minlength=256)).pvalue > 1e-4
    assert np.abs(np.corrcoef(colours.T) - np.eye(12)).max() < 5 / np.sqrt(20_000)
    assert np.abs(np.corrcoef(colours[:-1, 0], colours[1:, 0])[0, 1]) < 5 / np.sqrt(20_000)


def test_the_mean_of_many_images_is_grey() -> None:
    assert images_of(GradientsSource(**SIZES, seed=0, size=20_000, held_out=1)).mean(axis=0) == pytest.approx(
        127.5, abs=3
    )


def test_held_out_images_are_the_same_for_any_training_size() -> None:
    few, many = (GradientsSource(**SIZES, seed=0, size=size, held_out=6) for size in (4, 10))
    assert {name: len(rows) for name, rows in many.official_splits().items()} == {"train": 10, "test": 6}
    assert not set(many.official_splits()["train"]) & set(many.official_splits()["test"])
    held_out = [images_of(source)[source.official_splits()["test"]] for source in (few, many)]
    np.testing.assert_array_equal(held_out[0], held_out[1])


def test_what_changes_the_images_changes_the_fingerprint() -> None:
    plain = SIZES | {"seed": 0, "size": 4, "held_out": 6}
    changes: list[dict[str, Any]] = [{}, {"seed": 1}, {"size": 5}, {"held_out": 7}]
    assert len({GradientsSource(**plain | change).fingerprint() for change in changes}) == 4
    assert GradientsSource(**plain).fingerprint() == GradientsSource(**plain).fingerprint()


def test_the_data_set_has_the_size_asked_for(tmp_path: Path) -> None:
    source = GradientsSource(**SIZES, seed=0, size=24, held_out=20)
    data = ImageDataModule(source, OfficialSplit(), 8, 0, seed=0, cache_dir=str(tmp_path))
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [24, 20, 20]
    assert data.image_shape == SHAPE and data.num_classes == 0
    np.testing.assert_array_equal(data.split("test").images_at(range(20)), images_of(source)[:20])


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("channels", 0, "source.channels must be at least 1, not 0"),
        ("height", -1, "source.height must be at least 1, not -1"),
        ("held_out", 0, "source.held_out must be at least 1, not 0"),
        ("seed", -1, "source.seed must not be negative, not -1"),
        ("size", 0, "source.size must be at least 1, not 0"),
    ],
)
def test_impossible_options_are_refused(option: str, value: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GradientsSource(**(SIZES | {"seed": 0, "size": 4, "held_out": 2} | {option: value}))
