import dataclasses
import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ddpm_lightning.report.rendering.aligned_samples import read_aligned_samples
from ddpm_lightning.report.rendering.curves import read_panels
from ddpm_lightning.report.rendering.figures import effects_figure, intervals_figure, samples_figure, write_figures
from ddpm_lightning.report.rendering.line_figures import cost_quality_figure, curves_figure
from ddpm_lightning.report.table import Estimate


def drawn(figure: Figure):
    """The figure's renderer, after the layout is done."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def assert_readable(figure: Figure) -> None:
    """Asserts that no label overlaps another one or extends beyond the figure."""
    renderer = drawn(figure)
    page = figure.bbox.padded(1)
    texts = []
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            # Ticks beyond the ends exist, but are not drawn.
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        texts += [ax.title, ax.yaxis.label, ax.xaxis.label]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    texts += [figure._suptitle] if figure._suptitle else []
    boxes = [
        (text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text() and text.get_visible()
    ]
    assert len(boxes) > 3
    for name, box in boxes:
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1, name
    for (name, box), (other, second) in itertools.combinations(boxes, 2):
        assert not box.padded(-1).overlaps(second.padded(-1)), (name, other)


def assert_all_readable(table):
    """Every figure of a table whose runs have samples, curves and several numbers of steps."""
    for figure in (
        intervals_figure(table),
        effects_figure(table),
        samples_figure(table, read_aligned_samples(table)),
        curves_figure(table, read_panels(table)),
        cost_quality_figure(table),
    ):
        assert_readable(figure)


def test_intervals_are_in_the_order_of_the_table(eight):
    figure = intervals_figure(eight)
    assert [ax.get_title() for ax in figure.axes] == ["KID (lenet)", "FID (lenet)", "noise MAE", "image MAE"]
    ax = figure.axes[0]
    assert ax.yaxis_inverted()
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    estimates = [row.estimates["kid_lenet"] for row in eight.rows]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots] == [
        (estimate.mean, place) for place, estimate in enumerate(estimates)
    ]
    bars = [line for line in ax.lines if line.get_marker() == "None"]
    assert [tuple(line.get_xdata()) for line in bars] == [(estimate.low, estimate.high) for estimate in estimates]
    # Ties are filled, significantly worse configurations hollow.
    assert [line.get_markerfacecolor() == "white" for line in dots] == [False] * 2 + [True] * 6
    first_label = ax.get_yticklabels()[0].get_text()
    assert first_label == "schedule=cosine\nloss_on=noise\nsampler.steps=10"


def test_effects_have_a_zero_line_and_each_change_once(eight):
    figure = effects_figure(eight)
    for ax in figure.axes:
        assert list(ax.lines[0].get_xdata()) == [0, 0]
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        assert [line.get_ydata()[0] for line in dots] == [0, 1, 2]
    assert effects_figure(dataclasses.replace(eight, effects=[])) is None


@pytest.mark.parametrize("draw", [intervals_figure, effects_figure])
def test_each_panel_marks_the_better_direction(make_table, draw):
    metrics = ["kid_lenet", "fid_lenet", "precision_lenet", "recall_lenet", "noise_mae", "image_mae"]
    figure = draw(make_table({"schedule": ["cosine", "linear"], "loss_on": ["noise", "velocity"]}, metrics=metrics))
    assert [(ax.get_title(), ax.get_xlabel()) for ax in figure.axes] == [
        ("KID (lenet)", "← better"),
        ("FID (lenet)", "← better"),
        ("precision (lenet)", "better →"),
        ("recall (lenet)", "better →"),
        ("noise MAE", "← better"),
        ("image MAE", "← better"),
    ]
    assert_readable(figure)


def test_samples_are_shown_pixel_by_pixel(eight):
    samples = read_aligned_samples(eight)
    figure = samples_figure(eight, samples)
    assert len(figure.axes) == 8
    for ax, strip in zip(figure.axes, samples.strips, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array()[:, :, 0], strip[0])
        assert ax.images[0].get_interpolation() == "nearest"
    assert figure.axes[7].get_ylabel() == "schedule=linear\nloss_on=velocity\nsampler.steps=100"
    assert "Samples 0 to 15 of seed 0" in figure._suptitle.get_text()


def test_labels_do_not_overlap_at_eight_configurations(eight):
    figures = [
        intervals_figure(eight),
        effects_figure(eight),
        samples_figure(eight, read_aligned_samples(eight)),
        curves_figure(eight, read_panels(eight)),
        cost_quality_figure(eight),
    ]
    for figure in figures:
        assert_readable(figure)


def test_labels_do_not_overlap_with_one_metric(make_table):
    table = make_table({"a": ["x", "y"], "sampler.steps": ["5", "10"]}, metrics=["kid_lenet"], logs=True)
    assert_all_readable(table)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_strange_names_and_unknown_intervals_are_drawn(make_table, seeds):
    # A dollar sign must not start a formula, and a long name must not push the panels out of the figure.
    table = make_table({"a$b_{$": ["$\\frac", "x" * 200], "sampler.steps": ["1", "2"]}, seeds=seeds, logs=True)
    nan = float("nan")
    broken = {metric: Estimate({0: nan}, nan, nan, nan, nan, "") for metric in table.metrics}
    table = dataclasses.replace(table, rows=[dataclasses.replace(table.rows[0], estimates=broken), *table.rows[1:]])
    assert_all_readable(table)


def test_figures_are_written_and_stale_ones_removed(make_table, tmp_path):
    table = make_table({"sampler.steps": ["5", "10"]}, seeds=(0, 1), logs=True)
    samples, curves = read_aligned_samples(table), read_panels(table)
    names = {"samples.png", "intervals.png", "effects.png", "cost_quality.png", "curves.png"}
    written = write_figures(table, samples, curves, tmp_path)
    assert {figure.path.name for figure in written} == names
    assert all(figure.title and figure.caption.endswith(".") for figure in written)
    for figure in written:
        picture = np.asarray(Image.open(figure.path))
        assert picture.shape[1] == pytest.approx(150 * figure.inches, abs=1) and picture.std() > 5
    again = write_figures(dataclasses.replace(table, effects=[]), samples, [], tmp_path)
    assert (
        {figure.path.name for figure in again}
        == names - {"effects.png", "curves.png"}
        == {path.name for path in tmp_path.iterdir()}
    )
