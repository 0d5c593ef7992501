from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_lightning.pictures import grid_by_class, image_grid, save_animation, save_picture, save_pictures


def test_a_grid_has_enlarged_images_in_reading_order():
    values = torch.tensor([10, 20, 30, 40, 50], dtype=torch.uint8)
    grid = image_grid(values[:, None, None, None].expand(-1, 1, 28, 28), columns=3)
    cell, margin = 2 * 28, 2  # 64 // 28 = 2
    assert grid.shape == (3, 2 * (cell + margin) + margin, 3 * (cell + margin) + margin)
    centres = [
        int(grid[0, margin + row * (cell + margin) + cell // 2, margin + column * (cell + margin) + cell // 2])
        for row, column in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1))
    ]
    assert centres == values.tolist()


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 2), (5, 3), (64, 8)])
def test_a_grid_is_about_square(count, columns):
    width = image_grid(torch.zeros(count, 3, 64, 64, dtype=torch.uint8)).shape[-1]
    assert width == (columns * 65 + 1 if count > 1 else 64)


def test_samples_of_classes_have_a_row_for_each():
    """Sample i is of class i % 2; grey stands for the one that class 1 lacks."""
    samples = torch.arange(1, 9, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 64, 64).clone()
    samples[7] = 128
    assert torch.equal(grid_by_class(samples[:7], 2), image_grid(samples[[0, 2, 4, 6, 1, 3, 5, 7]], columns=4))


@pytest.mark.parametrize("num_classes", [None, 3, 9])
def test_without_classes_or_with_too_few_samples_the_grid_is_plain(num_classes):
    samples = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 64, 64)
    assert torch.equal(grid_by_class(samples, num_classes), image_grid(samples))


def test_a_saved_picture_is_read_back(tmp_path: Path):
    picture = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    save_picture(picture, tmp_path / "new" / "picture.png")
    with Image.open(tmp_path / "new" / "picture.png") as saved:
        assert np.array_equal(np.asarray(saved), picture.permute(1, 2, 0).numpy())
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_an_animation_pauses_on_its_last_frame(tmp_path: Path):
    frames = [torch.full((3, 16, 16), value, dtype=torch.uint8) for value in (0, 100, 200)]
    save_animation(frames, tmp_path / "a.gif")
    durations, shades = [], []
    with Image.open(tmp_path / "a.gif") as animation:
        for number in range(animation.n_frames):
            animation.seek(number)
            durations.append(animation.info["duration"])
            shades.append(animation.convert("RGB").getpixel((8, 8))[0])
    assert durations == [120, 120, 1200]
    assert shades == [0, 100, 200]


def test_pictures_are_numbered_files_and_nothing_else(tmp_path: Path):
    pictures = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    for _ in range(2):  # the same command again
        save_pictures(pictures, tmp_path / "samples")
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]
    for index, path in enumerate(sorted((tmp_path / "samples").iterdir())):
        assert path.name == f"00000{index}.png"
        assert np.array_equal(np.asarray(Image.open(path)), pictures[index, 0].numpy())
