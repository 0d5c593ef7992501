"""Frames of the report's figures."""

import pytest

from ddpm_lightning.report.rendering.axes import dot_panels, line_panels


def test_all_panels_of_dots_share_their_lines_half_a_line_from_the_edge():
    _, axes = dot_panels(3, ["a", "b", "c", "d"])
    assert [ax.get_ylim() for ax in axes] == [(3.5, -0.5)] * 3
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["a", "b", "c", "d"]
    for ax in axes:  # lines show the values, and none crosses the dots
        assert ax.xaxis.get_gridlines()[0].get_visible()
        assert not ax.yaxis.get_gridlines()[0].get_visible()


@pytest.mark.parametrize(("count", "grid"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (3, 2))])
def test_panels_of_lines_are_in_a_row_or_in_pairs(count, grid):
    _, axes = line_panels(count, ["a"])
    assert len(axes) == count
    assert {ax.get_subplotspec().get_gridspec().get_geometry() for ax in axes} == {grid}
