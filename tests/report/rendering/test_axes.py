"""Frames of the report's figures."""

from ddpm_lightning.report.rendering.axes import dot_panels


def test_all_panels_of_dots_share_their_lines_half_a_line_from_the_edge():
    _, axes = dot_panels(3, ["a", "b", "c", "d"])
    assert [ax.get_ylim() for ax in axes] == [(3.5, -0.5)] * 3
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["a", "b", "c", "d"]
