"""A sweep's table as figures: intervals, main effects and samples, one line for each configuration."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ddpm_lightning.atomic_files import atomic_path
from ddpm_lightning.report.rendering.aligned_samples import AlignedSamples
from ddpm_lightning.report.rendering.axes import (
    LINE_HEIGHT,
    dot,
    dot_panels,
    empty_figure,
    label_width,
    mark_better,
    row_label,
    shortened,
)
from ddpm_lightning.report.rendering.curves import Panel
from ddpm_lightning.report.rendering.format import metric_name
from ddpm_lightning.report.rendering.line_figures import cost_quality_figure, curves_figure
from ddpm_lightning.report.table import Table, Verdict

_DPI = 150
# Inches.
_STRIP_WIDTH = 7.0

_EFFECTS = "Main effects; the black line marks no change."
_COST_QUALITY = "Scores against the number of sampling steps, with one line for each setting of the other factors."
_CURVES = "Losses are comparable only between runs with the same objective, KIDs between all runs."


class WrittenFigure(NamedTuple):
    """A figure of a report, as a PNG file.

    Attributes:
        path: the file.
        inches: its width.
        title: its alternative text.
        caption: the sentence below it.
    """

    path: Path
    inches: float
    title: str
    caption: str


def write_figures(table: Table, samples: AlignedSamples, curves: list[Panel], folder: Path) -> list[WrittenFigure]:
    """Writes the figures that the table has data for, and removes those of an earlier report that it has none for."""
    score = metric_name(table.metrics[0])
    figures = {
        "samples.png": (samples_figure(table, samples), "Samples", f"{samples.caption}."),
        "intervals.png": (intervals_figure(table), "Scores with 95 % intervals", f"Scores, best {score} first."),
        "effects.png": (effects_figure(table), "Main effects with 95 % intervals", _EFFECTS),
        "cost_quality.png": (cost_quality_figure(table), "Scores against the number of sampling steps", _COST_QUALITY),
        "curves.png": (curves_figure(table, curves), "Training curves", _CURVES),
    }
    written = []
    for name, (figure, title, caption) in figures.items():
        if figure is None:
            (folder / name).unlink(missing_ok=True)
            continue
        with atomic_path(folder / name) as temporary:
            figure.savefig(temporary, dpi=_DPI)
        written.append(WrittenFigure(folder / name, figure.get_figwidth(), title, caption))
    return written


def intervals_figure(table: Table) -> Figure:
    """A dot with an interval for each configuration, in the table's order, and a small grey dot for each seed.

    A hollow dot is significantly worse than the best mean.
    """
    figure, axes = dot_panels(len(table.metrics), [row_label(row) for row in table.rows])
    for ax, metric in zip(axes, table.metrics, strict=True):
        for i, row in enumerate(table.rows):
            estimate = row.estimates[metric]
            if not math.isfinite(estimate.mean):
                continue
            values = list(estimate.values.values())
            ax.plot(values, [i + 0.2] * len(values), ".", color="#999999", markersize=4)
            dot(ax, estimate.mean, i, estimate.low, estimate.high, filled=row.verdicts[metric] is not Verdict.WORSE)
        ax.set_title(metric_name(metric), fontsize=10)
        mark_better(ax, metric)
    figure.suptitle("Mean and 95 % interval; grey: seeds; hollow: significantly worse than the best", fontsize=10)
    return figure


def effects_figure(table: Table) -> Figure | None:
    """Main effects with their intervals and a line at zero; None for a table without effects."""
    if not table.effects:
        return None
    shown = [metric for metric in table.metrics if any(effect.metric == metric for effect in table.effects)]
    changes = list(dict.fromkeys((effect.factor, effect.baseline, effect.choice) for effect in table.effects))
    labels = [f"{shortened(factor)}\n{shortened(f'{baseline} → {choice}')}" for factor, baseline, choice in changes]
    figure, axes = dot_panels(len(shown), labels)
    for ax, metric in zip(axes, shown, strict=True):
        ax.axvline(0, color="black", linewidth=0.8, zorder=1)
        for effect in table.effects:
            if effect.metric == metric:
                row = changes.index((effect.factor, effect.baseline, effect.choice))
                dot(ax, effect.mean, row, effect.low, effect.high, filled=True)
        ax.set_title(metric_name(metric), fontsize=10)
        mark_better(ax, metric)
    figure.suptitle("Main effects: change of one factor alone, with 95 % interval", fontsize=10)
    return figure


def samples_figure(table: Table, samples: AlignedSamples) -> Figure | None:
    """One strip of samples for each configuration, in the table's order; None where no samples were kept."""
    strips = [strip for strip in samples.strips if strip is not None]
    if not strips:
        return None
    labels = [row_label(row) for row in table.rows]
    lines = max(label.count("\n") + 1 for label in labels)
    height = max(_STRIP_WIDTH * strips[0].shape[1] / strips[0].shape[2], (lines + 0.5) * LINE_HEIGHT)
    figure = empty_figure(label_width(labels) + _STRIP_WIDTH, len(labels) * (height + 0.06) + 0.4)
    figure.get_layout_engine().set(h_pad=0.03, hspace=0)  # type: ignore[union-attr, call-arg]  # of constrained layout
    axes = figure.subplots(len(labels), 1, squeeze=False)[:, 0]
    for ax, label, strip in zip(axes, labels, samples.strips, strict=True):
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        ax.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
        if strip is None:
            ax.text(0.5, 0.5, "no samples were kept", ha="center", va="center", transform=ax.transAxes, color="grey")
        else:
            picture = strip.transpose(1, 2, 0)
            ax.imshow(np.broadcast_to(picture, (*picture.shape[:2], 3)), interpolation="nearest")
    figure.suptitle(samples.caption, fontsize=10)
    return figure
