"""Shared parts of a sweep's figures: sizes, labels, colours and rows of panels."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddpm_lightning.metrics.directions import higher_is_better
from ddpm_lightning.report.table import Row

# After Okabe and Ito (2008), distinguishable with any colour vision; without their yellow, too pale on white, and
# their black, the colour of the axes.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#808080", "#999933")

# Inches.
LINE_HEIGHT = 0.17
_TITLE_WIDTH, _TITLE_HEIGHT = 5.6, 0.3
_DOT_PANEL, _LINE_PANEL, _CHARACTER_WIDTH = 2.3, 3.4, 0.075
_MOST_CHARACTERS = 40
_DASHES = ("-", "--", ":", "-.")


def empty_figure(width: float, height: float) -> Figure:
    """A figure of a size in inches that makes room for its labels."""
    # Not from pyplot, which keeps every figure in memory and may need a display.
    return Figure(figsize=(width, height), layout="constrained")


def dot_panels(count: int, labels: list[str]) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels for dots, at most four in a row, whose lines are labelled from top to bottom."""
    grid_rows = -(-count // 4)
    columns = -(-count // grid_rows)
    height = (max(label.count("\n") for label in labels) + 1.6) * LINE_HEIGHT
    width = max(_TITLE_WIDTH, label_width(labels) + _DOT_PANEL * columns)
    figure = empty_figure(width, grid_rows * (len(labels) * height + 0.9) + _TITLE_HEIGHT + 0.1)
    axes = _first_panels(figure.subplots(grid_rows, columns, sharey=True, squeeze=False), count)
    axes[0].set_yticks(range(len(labels)), labels, fontsize=8)
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    for ax in axes:
        ax.grid(axis="x", linewidth=0.4, alpha=0.5)
        ax.tick_params(axis="x", labelsize=7)
        ax.locator_params(axis="x", nbins=4)
    return figure, axes


def line_panels(count: int, legend: list[str]) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels for lines, at most three in a row, and room for a legend below them."""
    columns = count if count <= 3 else 2
    grid_rows = -(-count // columns)
    width = max(_LINE_PANEL * columns, _legend_width(legend))
    legend_lines = -(-len(legend) // int(width / _legend_width(legend)))
    figure = empty_figure(width, 2.8 * grid_rows + 1.1 * LINE_HEIGHT * legend_lines + _TITLE_HEIGHT)
    axes = _first_panels(figure.subplots(grid_rows, columns, squeeze=False), count)
    for ax in axes:
        ax.grid(linewidth=0.4, alpha=0.5)
    return figure, axes


def _first_panels(grid: np.ndarray, count: int) -> list[Axes]:
    """The first `count` panels of a grid, without the lines of the frame that show nothing; the others are removed."""
    axes: list[Axes] = list(grid.ravel())
    for unused in axes[count:]:
        unused.remove()
    for ax in axes[:count]:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return axes[:count]


def legend_below(figure: Figure, handles: list[Any], labels: list[str]) -> None:
    """Adds a legend with as many columns as there is room for; none where there is nothing to distinguish."""
    if any(labels):
        columns = int(figure.get_figwidth() / _legend_width(labels))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def _legend_width(labels: list[str]) -> float:
    return label_width(labels) + 0.6


def dot(ax: Axes, mean: float, row: int, low: float, high: float, filled: bool) -> None:
    """Draws a dot in a row of the panel, with its interval where there is one."""
    colour = COLOURS[0]
    if math.isfinite(low) and math.isfinite(high):
        ax.plot([low, high], [row, row], color=colour, linewidth=1.8, zorder=2)
    ax.plot(mean, row, "o", color=colour, markerfacecolor=colour if filled else "white", markersize=6, zorder=3)


def mark_better(ax: Axes, metric: str) -> None:
    """Marks below a panel in which direction the score is better."""
    ax.set_xlabel("better →" if higher_is_better(metric) else "← better", fontsize=8)


def row_label(row: Row) -> str:
    """A configuration on several lines, one for each factor."""
    lines = [shortened(f"{factor}={choice}") for factor, choice in row.configuration.items()]
    return "\n".join(lines) or "all runs"


def shortened(text: str) -> str:
    """At most 40 characters, with dollar signs escaped, since matplotlib would start a formula there."""
    cut = text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
    return cut.replace("$", r"\$")


def label_width(labels: Iterable[str]) -> float:
    """Width in inches of the longest line, in small print."""
    return _CHARACTER_WIDTH * max((len(line) for label in labels for line in label.splitlines()), default=0)


def line_style(number: int) -> dict[str, Any]:
    """Colour and dashes of line `number`: all colours solid, then all colours dashed, and so on."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": _DASHES[number // len(COLOURS) % len(_DASHES)],
    }


def suits_log_scale(values: np.ndarray) -> bool:
    """Whether all values are positive and the largest is more than five times the smallest."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() > 5 * finite.min())
