import dataclasses
import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from ddpm_lightning.report.rendering.aligned_samples import read_aligned_samples
from ddpm_lightning.report.rendering.curves import Curve, Line, Panel, read_panels
from ddpm_lightning.report.rendering.figures import effects_figure, intervals_figure, samples_figure, write_figures
from ddpm_lightning.report.rendering.format import COLOURS
from ddpm_lightning.report.rendering.line_figures import cost_quality_figure, curves_figure


def drawn(figure: Figure):
    """The figure's renderer, once everything has its place."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def assert_readable(figure: Figure) -> None:
    """No label overlaps another one or leaves the figure."""
    renderer = drawn(figure)
    page = figure.bbox.padded(1)
    texts = []
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            # Those beyond the ends exist, but are not drawn.
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
    # Ties are filled, what is significantly worse is hollow.
    assert [line.get_markerfacecolor() == "white" for line in dots] == [False] * 2 + [True] * 6
    first_label = ax.get_yticklabels()[0].get_text()
    assert first_label == "schedule=cosine\nloss_on=noise\nsampler.steps=10"


def test_effects_have_a_line_at_zero_and_each_change_once(eight):
    figure = effects_figure(eight)
    for ax in figure.axes:
        assert list(ax.lines[0].get_xdata()) == [0, 0]
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        assert [line.get_ydata()[0] for line in dots] == [0, 1, 2]
    assert effects_figure(dataclasses.replace(eight, effects=[])) is None


@pytest.mark.parametrize("draw", [intervals_figure, effects_figure])
def test_each_panel_says_where_better_is(make_table, draw):
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


def test_curves_have_a_colour_each_and_a_line_for_each_seed(eight):
    figure = curves_figure(eight, read_panels(eight))
    assert len(figure.axes) == 3
    for ax in figure.axes:
        assert [to_hex(line.get_color()).upper() for line in ax.lines] == list(np.repeat(COLOURS, 3))
        assert max(len(line.get_xdata()) for line in ax.lines) <= 300
        assert ax.get_yscale() == "log"
    assert len(figure.legends[0].get_texts()) == 8
    assert curves_figure(eight, []) is None


def test_values_that_are_not_positive_keep_a_linear_scale(eight):
    curve = Curve(np.array([0, 1, 2]), np.array([5.0, -0.1, np.nan]))
    figure = curves_figure(eight, [Panel("KID", [Line(0, 0, curve)])])
    assert figure.axes[0].get_yscale() == "linear"
    drawn(figure)


def test_cost_and_quality_are_drawn_against_what_varies(eight):
    figure = cost_quality_figure(eight)
    ax = figure.axes[0]
    assert ax.get_xlabel() == "sampler.steps"
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10", "100"]
    by_setting = [line.lines[0] for line in ax.containers]
    assert len(by_setting) == 4
    assert all(list(line.get_xdata()) == [10, 100] for line in by_setting)
    assert by_setting[0].get_ydata()[1] == eight.rows[1].estimates["kid_lenet"].mean
    assert figure.legends[0].get_texts()[0].get_text() == "schedule=cosine, loss_on=noise"


def test_without_steps_to_study_there_is_no_such_figure(make_table):
    assert cost_quality_figure(make_table({"schedule": ["cosine", "linear"]})) is None
    assert cost_quality_figure(make_table({"guidance.scale": ["2", "none"]})) is None
    assert cost_quality_figure(make_table({"sampler.eta": ["0.0", "0.5", "1.0"]})) is None
    assert not cost_quality_figure(make_table({"sampler.steps": ["5", "10"]})).legends


def test_samples_are_shown_pixel_by_pixel_beside_their_label(eight):
    samples = read_aligned_samples(eight)
    figure = samples_figure(eight, samples)
    assert len(figure.axes) == 8
    for ax, strip in zip(figure.axes, samples.strips, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array()[:, :, 0], strip[0])
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


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_strange_names_and_unknown_intervals_are_drawn(make_table, seeds):
    # A dollar must not start a formula, and a long name must not push the panels out.
    table = make_table({"a$b_{$": ["$\\frac", "x" * 200], "sampler.steps": ["1", "2"]}, seeds=seeds, logs=True)
    table = dataclasses.replace(table, rows=[dataclasses.replace(table.rows[0], estimates={}), *table.rows[1:]])
    for figure in (
        intervals_figure(table),
        effects_figure(table),
        samples_figure(table, read_aligned_samples(table)),
        curves_figure(table, read_panels(table)),
        cost_quality_figure(table),
    ):
        assert_readable(figure)


def test_files_are_pictures_and_stale_ones_are_removed(make_table, tmp_path):
    table = make_table({"sampler.steps": ["5", "10"]}, seeds=(0, 1), logs=True)
    samples, curves = read_aligned_samples(table), read_panels(table)
    names = {"samples.png", "intervals.png", "effects.png", "cost_quality.png", "curves.png"}
    assert {path.name for path in write_figures(table, samples, curves, tmp_path)} == names
    for name in names:
        picture = np.asarray(Image.open(tmp_path / name))
        assert picture.shape[1] > 400 and picture.std() > 5
    again = write_figures(dataclasses.replace(table, effects=[]), samples, [], tmp_path)
    assert (
        {path.name for path in again}
        == names - {"effects.png", "curves.png"}
        == {path.name for path in tmp_path.iterdir()}
    )
