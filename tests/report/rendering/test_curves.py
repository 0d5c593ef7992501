import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger
from torch.utils.tensorboard import SummaryWriter

from ddpm_lightning.report.rendering.curves import Curve, read_curves, read_panels
from ddpm_lightning.report.rendering.format import metric_name


def write_events(folder: Path, points: dict[int, float], suffix: str = "", start: float = 1000.0) -> Path:
    with SummaryWriter(str(folder / "tensorboard"), filename_suffix=suffix) as writer:
        for step, value in points.items():
            writer.add_scalar("train/loss", value, step, walltime=start + step)
    return next((folder / "tensorboard").glob(f"*{suffix}"))


def as_dict(curve: Curve) -> dict[int, float]:
    return dict(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))


def test_every_point_of_an_event_file_is_read(tmp_path):
    # More points than TensorBoard keeps by default.
    points = {step: float(np.float32(np.sin(step))) for step in range(0, 24_000, 2)}
    write_events(tmp_path, points)
    assert as_dict(read_curves(tmp_path)["train/loss"]) == points


def test_the_file_that_was_started_later_counts(tmp_path):
    # The order of the names differs from the order of the starts.
    write_events(tmp_path, {0: 1.0, 10: 2.0, 20: 3.0}, suffix="z", start=1000)
    write_events(tmp_path, {20: 30.0, 30: 40.0}, suffix="a", start=5000)
    assert as_dict(read_curves(tmp_path)["train/loss"]) == {0: 1.0, 10: 2.0, 20: 30.0, 30: 40.0}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75, 0.999])
def test_the_beginning_of_a_truncated_file_is_read(tmp_path, share):
    points = {step: float(step) for step in range(100)}
    file = write_events(tmp_path, points)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    curves = read_curves(tmp_path)
    read = as_dict(curves["train/loss"]) if curves else {}
    assert list(read.items()) == list(points.items())[: len(read)]
    assert abs(len(read) - 100 * share) <= 3


def test_a_damaged_file_is_read_up_to_the_damage(tmp_path):
    points = {step: float(step) for step in range(100)}
    file = write_events(tmp_path, points)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = b"\xff" * 40
    file.write_bytes(content)
    read = as_dict(read_curves(tmp_path)["train/loss"])
    assert 40 <= len(read) < 100
    assert all(points[step] == value for step, value in read.items())


def test_a_file_without_events_does_not_hide_the_others(tmp_path):
    write_events(tmp_path, {0: 1.0})
    (tmp_path / "tensorboard" / "events.out.tfevents.0.host.1.0").write_text(
        "not an event file, but long enough to read"
    )
    assert as_dict(read_curves(tmp_path)["train/loss"]) == {0: 1.0}


def test_csv_logs_are_read_if_there_are_no_events(tmp_path):
    logger = CSVLogger(tmp_path, name="csv")
    logger.log_metrics({"train/loss": 0.5}, step=1)
    logger.log_metrics({"val/loss": 0.25}, step=1)
    logger.log_metrics({"train/loss": 0.4}, step=2)
    logger.save()
    curves = read_curves(tmp_path)
    assert set(curves) == {"train/loss", "val/loss"}
    assert as_dict(curves["train/loss"]) == {1: 0.5, 2: 0.4}
    assert as_dict(curves["val/loss"]) == {1: 0.25}


def test_later_versions_of_csv_logs_replace_the_same_steps(tmp_path):
    for version, text in [(10, "3,9.0\n"), (2, "1,1.0\n3,2.0\n")]:
        folder = tmp_path / "csv" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(f"step,train/loss\n{text}")
    assert as_dict(read_curves(tmp_path)["train/loss"]) == {1: 1.0, 3: 9.0}


def test_incomplete_lines_of_a_csv_log_are_left_out(tmp_path):
    folder = tmp_path / "csv" / "version_0"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,step,train/loss\n0,1,0.75\n0,zz,1\n0,2,nan\n0,3,0.1")
    curve = read_curves(tmp_path)["train/loss"]
    assert curve.steps.tolist() == [1, 2]
    assert curve.values[0] == 0.75 and math.isnan(curve.values[1])


def test_a_run_without_logs_has_no_curves(tmp_path):
    assert read_curves(tmp_path) == {}
    assert read_curves(tmp_path / "absent") == {}


@pytest.mark.parametrize(("length", "most"), [(299, 300), (300, 300), (301, 300), (10_007, 300), (7, 1)])
def test_thinned_curves_are_short_and_keep_the_mean(length, most):
    curve = Curve(np.arange(length) * 10, np.random.default_rng(0).standard_normal(length))
    thin = curve.thinned(most)
    assert len(thin.steps) == len(thin.values) <= most
    assert (np.diff(thin.steps) > 0).all()
    size = -(-length // most)
    whole = length // size
    np.testing.assert_allclose(thin.values[:whole].mean(), curve.values[: whole * size].mean(), atol=1e-12)
    if length <= most:
        assert np.array_equal(thin.steps, curve.steps) and np.array_equal(thin.values, curve.values)


def test_panels_have_a_line_for_each_run_with_logs(make_table):
    table = make_table({"schedule": ["cosine", "linear"]}, seeds=(0, 1), logs=True)
    panels = read_panels(table)
    assert [panel.title for panel in panels] == ["training loss", "validation loss", "validation KID (lenet)"]
    for panel in panels:
        assert [(line.row, line.seed) for line in panel.lines] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert read_panels(make_table({"schedule": ["cosine"]})) == []


@pytest.mark.slow
def test_the_logs_of_a_training_are_found(shell, tiny_options, make_table, tmp_path):
    options = [
        "metrics.every_n_epochs=1",
        "trainer.log_every_n_steps=1",
        "trainer.val_check_interval=3",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    assert shell("train.py", *tiny_options, *options).returncode == 0
    curves = read_curves(tmp_path / "run")
    assert curves["train/loss"].steps.tolist() == [0, 1, 2]
    final = json.loads((tmp_path / "run" / "metrics.json").read_text())
    (metric,) = (name for name in final["values"] if name.startswith("kid_") and "subsets" not in name)
    table = make_table({"schedule": ["cosine"]}, seeds=(0,), metrics=["kid_lenet"])
    run = dataclasses.replace(table.rows[0].runs[0], folder=tmp_path / "run")
    rows = [dataclasses.replace(table.rows[0], runs=[run])]
    panels = read_panels(dataclasses.replace(table, metrics=[metric], rows=rows))
    assert [panel.title for panel in panels] == [
        "training loss",
        "validation loss",
        f"validation {metric_name(metric)}",
    ]
