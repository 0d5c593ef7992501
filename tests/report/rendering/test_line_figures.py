import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from ddpm_lightning.report.rendering.axes import COLOURS
from ddpm_lightning.report.rendering.curves import Curve, Line, Panel, read_panels
from ddpm_lightning.report.rendering.line_figures import cost_quality_figure, curves_figure


def test_configurations_have_a_colour_and_seeds_a_line(eight):
    figure = curves_figure(eight, read_panels(eight))
    assert len(figure.axes) == 3
    for ax in figure.axes:
        assert [to_hex(line.get_color()).upper() for line in ax.lines] == list(np.repeat(COLOURS, 3))
        assert max(len(line.get_xdata()) for line in ax.lines) <= 300
        assert ax.get_yscale() == "log"
    assert len(figure.legends[0].get_texts()) == 8
    assert curves_figure(eight, []) is None


def test_each_curve_ends_with_its_seed(make_table):
    table = make_table({"schedule": ["cosine", "linear"]}, seeds=(0, 17), logs=True)
    for ax in curves_figure(table, read_panels(table)).axes:
        ends = {(text.get_text(), *text.xy) for text in ax.texts}
        points = [tuple(float(value) for value in line.get_xydata()[-1]) for line in ax.lines]
        assert ends == {(seed, *point) for seed, point in zip(["0", "17"] * 2, points, strict=True)}


def test_a_seed_is_written_at_the_last_finite_point(eight):
    broken, whole = [np.array(values) for values in ([5.0, 4.0, np.nan], [3.0, 2.0, 1.0])]
    lines = [Line(0, seed, Curve(np.arange(3), values)) for seed, values in enumerate((broken, whole))]
    figure = curves_figure(eight, [Panel("KID", lines)])
    assert [(text.get_text(), *text.xy) for text in figure.axes[0].texts] == [("0", 1, 4.0), ("1", 2, 1.0)]


def test_curves_of_a_single_seed_are_not_labelled(make_table):
    table = make_table({"schedule": ["cosine", "linear"]}, seeds=(4,), logs=True)
    assert not any(ax.texts for ax in curves_figure(table, read_panels(table)).axes)


def test_values_below_zero_keep_a_linear_scale(eight):
    curve = Curve(np.array([0, 1, 2]), np.array([5.0, -0.1, np.nan]))
    figure = curves_figure(eight, [Panel("KID", [Line(0, 0, curve)])])
    assert figure.axes[0].get_yscale() == "linear"
    FigureCanvasAgg(figure).draw()


def test_scores_are_drawn_against_sampling_steps(eight):
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


def test_only_sweeps_over_steps_have_a_cost_figure(make_table):
    assert cost_quality_figure(make_table({"schedule": ["cosine", "linear"]})) is None
    assert cost_quality_figure(make_table({"guidance.scale": ["2", "none"]})) is None
    assert cost_quality_figure(make_table({"sampler.eta": ["0.0", "0.5", "1.0"]})) is None
    assert not cost_quality_figure(make_table({"sampler.steps": ["5", "10"]})).legends
