"""What the figures of a sweep share: sizes, labels, colours, and panels side by side."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddpm_lightning.report.rendering.format import COLOURS
from ddpm_lightning.report.score_names import higher_is_better
from ddpm_lightning.report.table import Row

# Inches.
LINE_HEIGHT = 0.17
_DOT_PANEL, _LINE_PANEL, _LETTER_WIDTH = 2.3, 3.4, 0.075
_MOST_LETTERS = 40
_DASHES = ("-", "--", ":", "-.")


def empty_figure(width: float, height: float) -> Figure:
    """A figure that finds room for its labels, of a size in inches."""
    # Not by pyplot, which keeps every figure and may want a display.
    return Figure(figsize=(width, height), layout="constrained")


def panels(count: int, labels: list[str]) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, at most four side by side, whose lines from the top have the labels."""
    lines = -(-count // 4)
    columns = -(-count // lines)
    height = (max(label.count("\n") for label in labels) + 1.6) * LINE_HEIGHT
    figure = empty_figure(label_width(labels) + _DOT_PANEL * columns, lines * (len(labels) * height + 0.9) + 0.4)
    axes: list[Axes] = list(figure.subplots(lines, columns, sharey=True, squeeze=False).ravel())
    for unused in axes[count:]:
        unused.remove()
    axes[0].set_yticks(range(len(labels)), labels, fontsize=8)
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    for ax in axes[:count]:
        quiet(ax)
        ax.grid(axis="x", linewidth=0.4, alpha=0.5)
        ax.tick_params(labelsize=8)
        ax.locator_params(axis="x", nbins=5)
    return figure, axes[:count]


def lines_beside(count: int, legend: list[str]) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels for lines, at most three side by side, and room for a legend below."""
    columns = count if count <= 3 else 2
    lines = -(-count // columns)
    width = max(_LINE_PANEL * columns, _legend_width(legend))
    legend_lines = -(-len(legend) // int(width / _legend_width(legend)))
    figure = empty_figure(width, 2.8 * lines + 1.1 * LINE_HEIGHT * legend_lines)
    axes: list[Axes] = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for unused in axes[count:]:
        unused.remove()
    for ax in axes[:count]:
        quiet(ax)
        ax.grid(linewidth=0.4, alpha=0.5)
        ax.tick_params(labelsize=8)
    return figure, axes[:count]


def legend_below(figure: Figure, handles: list[Any], labels: list[str]) -> None:
    """A legend of as many columns as there is room for; none where there is nothing to distinguish."""
    if any(labels):
        columns = int(figure.get_figwidth() / _legend_width(labels))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def _legend_width(labels: list[str]) -> float:
    return label_width(labels) + 0.6


def quiet(ax: Axes) -> None:
    """Takes away the lines of the frame that show nothing."""
    ax.spines[["top", "right"]].set_visible(False)


def dot(ax: Axes, mean: float, place: int, low: float, high: float, filled: bool) -> None:
    """A dot on line `place`, with its interval where there is one."""
    colour = COLOURS[0]
    if math.isfinite(low) and math.isfinite(high):
        ax.plot([low, high], [place, place], color=colour, linewidth=1.8, zorder=2)
    ax.plot(mean, place, "o", color=colour, markerfacecolor=colour if filled else "white", markersize=6, zorder=3)


def mark_better(ax: Axes, metric: str) -> None:
    """Says below a panel in which direction a score is better."""
    ax.set_xlabel("better →" if higher_is_better(metric) else "← better", fontsize=8)


def row_label(row: Row) -> str:
    """A configuration on several lines, one for each factor."""
    lines = [shortened(f"{factor}={choice}") for factor, choice in row.configuration.items()]
    return "\n".join(lines) or "all runs"


def shortened(text: str) -> str:
    """At most 40 letters, with a dollar that does not start a formula."""
    cut = text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"
    return cut.replace("$", r"\$")


def label_width(labels: Iterable[str]) -> float:
    """Inches that the longest line needs, in small print."""
    return _LETTER_WIDTH * max((len(line) for label in labels for line in label.splitlines()), default=0)


def line_style(number: int) -> dict[str, Any]:
    """Colour and dashes of line `number`: the colours first, then the same ones dashed."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": _DASHES[number // len(COLOURS) % len(_DASHES)],
    }


def spans_decades(values: np.ndarray) -> bool:
    """Whether a logarithmic scale shows values better: all are positive, and the largest is five times the smallest."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() > 5 * finite.min())
