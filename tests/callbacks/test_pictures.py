"""Pictures: their files, their size, TensorBoard, and the averaged weights that they are drawn with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ddpm_lightning.callbacks.process_panel import NUM_COLUMNS
from ddpm_lightning.pictures import image_grid

# (columns, rows) of images of 28 pixels, which are enlarged to 56 and framed by 2. A grid of 2 steps has 3 nodes.
LAYOUTS = {"samples": (2, 2), "process": (NUM_COLUMNS, 6), "trajectory": (3, 3)}
PICTURES = (
    "callbacks=pictures",
    "callbacks.sample_grid.num_samples=4",
    "callbacks.trajectory.num_samples=3",
    "trainer.limit_train_batches=1",
    "trainer.max_steps=2",
)


def read_png(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_each_validation_writes_its_pictures(run_with, tmp_path):
    run = run_with(*PICTURES, "logger=tensorboard", "callbacks.process_panel.every_n_epochs=2")
    run.fit()
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"images": 0}).Reload()
    for name, (columns, rows) in LAYOUTS.items():
        steps = [2] if name == "process" else [1, 2]
        files = sorted((tmp_path / "run" / "pictures" / name).iterdir())
        assert [file.name for file in files] == [f"step-{step:07d}.png" for step in steps]
        width, height = 58 * columns + 2, 58 * rows + 2
        assert {read_png(file).shape for file in files} == {(height, width, 3)}
        shown = events.Images(name)
        assert [(image.step, image.width, image.height) for image in shown] == [(s, width, height) for s in steps]


def test_the_grid_shows_samples_of_the_averaged_weights(run_with, tmp_path):
    run = run_with(*PICTURES, "trainer.max_steps=1", "optimizer.lr=0")
    torch.manual_seed(3)
    for parameter in run.module.ema.network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    run.module.ema.decay, run.module.ema.warmup = 1 - 1e-12, False  # so that the planted weights stay
    run.fit()
    grid = next(callback for callback in run.trainer.callbacks if type(callback).__name__ == "SampleGrid")
    shown = read_png(tmp_path / "run" / "pictures" / "samples" / "step-0000001.png")
    assert np.array_equal(grid.draw(run.trainer, run.module).permute(1, 2, 0), shown)
    run.module.ema.network = run.module.network
    assert not np.array_equal(grid.draw(run.trainer, run.module).permute(1, 2, 0), shown)


def test_a_panel_has_at_most_as_many_columns_as_images(run_with, tmp_path):
    run = run_with(*PICTURES, "trainer.max_steps=1", "dataset.split.val_size=7")
    run.fit()
    assert read_png(tmp_path / "run" / "pictures" / "process" / "step-0000001.png").shape[1] == 58 * 7 + 2


def test_the_panel_shows_truth_above_and_model_below(run_with, tmp_path):
    run = run_with(*PICTURES, "trainer.max_steps=1")
    run.fit()
    picture = read_png(tmp_path / "run" / "pictures" / "process" / "step-0000001.png")
    rows = [picture[58 * row + 2 : 58 * row + 58] for row in range(6)]
    split = run.data.split("val")
    columns = range(NUM_COLUMNS)
    images = torch.from_numpy(split.images_at([len(split) * column // NUM_COLUMNS for column in columns]))
    assert np.array_equal(image_grid(images, columns=NUM_COLUMNS).permute(1, 2, 0)[2:58], rows[2])
    assert np.array_equal(rows[0], rows[3])  # the noised images
    assert not np.array_equal(rows[1], rows[4])
    assert not np.array_equal(rows[2], rows[5])


@pytest.mark.parametrize("callback", ["sample_grid", "process_panel", "trajectory", "noise_level_curves"])
def test_a_period_below_one_is_refused(run_with, callback):
    with pytest.raises(Exception, match="every_n_epochs of a picture must be at least 1, not 0"):
        run_with("callbacks=pictures", f"callbacks.{callback}.every_n_epochs=0")
