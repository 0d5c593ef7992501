"""A sweep's line figures: losses and scores over steps, and scores against the number of sampling steps."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ddpm_lightning.report.rendering.axes import (
    legend_below,
    line_panels,
    line_style,
    row_label,
    shortened,
    suits_log_scale,
)
from ddpm_lightning.report.rendering.curves import Curve, Panel
from ddpm_lightning.report.rendering.format import metric_name
from ddpm_lightning.report.table import Estimate, Row, Table

_MOST_POINTS = 300
STEPS = "sampler.steps"


def curves_figure(table: Table, curves: list[Panel]) -> Figure | None:
    """Losses and scores over steps: a colour for each configuration, a line for each seed; None without logs.

    Where there are several seeds, each line ends with its seed.
    """
    if not curves:
        return None
    labels = [", ".join(row_label(row).splitlines()) for row in table.rows]
    shown = sorted({line.row for panel in curves for line in panel.lines})
    several_seeds = len({line.seed for panel in curves for line in panel.lines}) > 1
    figure, axes = line_panels(len(curves), [labels[row] for row in shown])
    handles: dict[int, Any] = {}
    for ax, panel in zip(axes, curves, strict=True):
        for line in panel.lines:
            curve = line.curve.thinned(_MOST_POINTS)
            marker = "." if len(curve.steps) == 1 else ""
            style = line_style(line.row)
            (handles[line.row],) = ax.plot(curve.steps, curve.values, linewidth=0.9, alpha=0.85, marker=marker, **style)
            if several_seeds:
                _mark_end(ax, curve, str(line.seed), style["color"])
        if suits_log_scale(np.concatenate([line.curve.values for line in panel.lines])):
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_locator(NullLocator())
        ax.set_title(panel.title, fontsize=10)
        ax.set_xlabel("step", fontsize=9)
    legend_below(figure, [handles[row] for row in shown], [labels[row] for row in shown])
    if several_seeds:
        figure.suptitle("One line for each run; the number at its end is the seed", fontsize=10)
    return figure


def _mark_end(ax: Axes, curve: Curve, text: str, colour: str) -> None:
    """Writes `text` to the right of a curve's last finite point."""
    finite = np.flatnonzero(np.isfinite(curve.values))
    if len(finite):
        end = (curve.steps[finite[-1]], curve.values[finite[-1]])
        ax.annotate(text, end, (2, 0), textcoords="offset points", fontsize=6, va="center", color=colour)


def cost_quality_figure(table: Table) -> Figure | None:
    """Each metric against the number of sampling steps, one line for each setting of the other factors.

    None unless the table compares several numbers of steps.
    """
    numbers = _numbers(table, STEPS) if STEPS in table.factors else {}
    if len(numbers) < 2:
        return None
    settings: dict[str, list[Row]] = {}
    for row in sorted(table.rows, key=lambda row: numbers[row.configuration[STEPS]]):
        settings.setdefault(_others(row), []).append(row)
    figure, axes = line_panels(len(table.metrics), [setting for setting in settings if setting])
    for ax, metric in zip(axes, table.metrics, strict=True):
        for i, rows in enumerate(settings.values()):
            steps = np.array([numbers[row.configuration[STEPS]] for row in rows])
            _plot_estimates(ax, steps, [row.estimates[metric] for row in rows], line_style(i))
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticks(list(numbers.values()), [shortened(choice) for choice in numbers])
        ax.set_xlabel(STEPS, fontsize=9)
        ax.set_title(metric_name(metric), fontsize=10)
    legend_below(figure, list(axes[0].containers), list(settings))
    figure.suptitle("Mean and 95 % interval", fontsize=10)
    return figure


def _numbers(table: Table, factor: str) -> dict[str, float]:
    """Choice -> number; empty if a choice is not a finite number."""
    try:
        numbers = {choice: float(choice) for choice in (row.configuration[factor] for row in table.rows)}
    except ValueError:
        return {}
    return numbers if all(map(math.isfinite, numbers.values())) else {}


def _others(row: Row) -> str:
    return ", ".join(shortened(f"{name}={choice}") for name, choice in row.configuration.items() if name != STEPS)


def _plot_estimates(ax: Axes, steps: np.ndarray, estimates: list[Estimate], style: dict[str, Any]) -> None:
    error_bars = [
        (estimate.mean - estimate.low, estimate.high - estimate.mean) if math.isfinite(estimate.low) else (0.0, 0.0)
        for estimate in estimates
    ]
    ax.errorbar(
        steps,
        [estimate.mean for estimate in estimates],
        yerr=np.array(error_bars).T,
        marker="o",
        markersize=4,
        linewidth=1.2,
        capsize=2.5,
        **style,
    )
