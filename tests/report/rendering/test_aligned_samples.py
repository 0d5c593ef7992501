import dataclasses

import numpy as np

from ddpm_lightning.report.finished_run import FinishedRun
from ddpm_lightning.report.rendering.aligned_samples import read_aligned_samples


def brightness(strip):
    """The brightness of a strip's first pixel; the fixture writes 100 + 10 · row + seed."""
    return int(strip[0, 0, 0])


def test_strips_are_the_first_samples_in_order(make_table):
    table = make_table({"schedule": ["cosine", "linear"]})
    samples = read_aligned_samples(table)
    with np.load(table.rows[1].runs[0].folder / "samples.npz") as file:
        images = file["images"]
    strip = samples.strips[1]
    assert strip.shape == (1, 28, 16 * 29 - 1)
    for index in range(16):
        np.testing.assert_array_equal(strip[:, :, index * 29 : index * 29 + 28], images[index])


def test_all_rows_show_the_lowest_common_seed(make_table):
    table = make_table({"schedule": ["cosine", "linear"]}, seeds=(3, 1, 2))
    (table.rows[0].runs[1].folder / "samples.npz").unlink()
    samples = read_aligned_samples(table)
    assert [brightness(strip) for strip in samples.strips] == [102, 112]
    assert "seed 2" in samples.caption and "the same noise" in samples.caption


def test_the_caption_mentions_that_seeds_differ(make_table):
    table = make_table({"schedule": ["cosine", "linear"]}, seeds=(0, 1))
    rows = [dataclasses.replace(row, runs=[row.runs[place]]) for place, row in enumerate(table.rows)]
    samples = read_aligned_samples(dataclasses.replace(table, rows=rows))
    assert [brightness(strip) for strip in samples.strips] == [100, 111]
    assert "different noise" in samples.caption


def test_a_row_without_samples_does_not_affect_the_others(make_table):
    table = make_table({"schedule": ["cosine", "linear"]}, seeds=(0, 1))
    for run in table.rows[0].runs:
        (run.folder / "samples.npz").unlink()
    samples = read_aligned_samples(table)
    assert samples.strips[0] is None
    assert brightness(samples.strips[1]) == 110
    for run in table.rows[1].runs:
        (run.folder / "samples.npz").unlink()
    assert read_aligned_samples(table).strips == [None, None]


def test_runs_with_fewer_samples_shorten_all_rows(make_table):
    table = make_table({"schedule": ["cosine", "linear"]}, seeds=(0,))
    np.savez(table.rows[0].runs[0].folder / "samples.npz", images=np.zeros((3, 1, 28, 28), np.uint8))
    samples = read_aligned_samples(table)
    assert [strip.shape[2] for strip in samples.strips] == [3 * 29 - 1] * 2
    assert samples.caption.startswith("Samples 0 to 2")


def test_a_strip_has_fewer_large_images(make_table):
    table = make_table({"schedule": ["cosine"]}, seeds=(0,))
    np.savez(table.rows[0].runs[0].folder / "samples.npz", images=np.zeros((20, 3, 64, 64), np.uint8))
    assert read_aligned_samples(table).strips[0].shape == (3, 64, 8 * 65 - 1)


def test_a_strip_of_large_images_has_four(make_table, monkeypatch):
    large = np.zeros((20, 1, 400, 400), np.uint8)
    monkeypatch.setattr(FinishedRun, "load_samples", lambda run: large)
    samples = read_aligned_samples(make_table({"schedule": ["cosine", "linear"]}))
    assert [strip.shape for strip in samples.strips] == [(1, 400, 4 * 401 - 1)] * 2
