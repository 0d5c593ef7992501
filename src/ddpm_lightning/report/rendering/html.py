"""A sweep's table as one HTML file that needs nothing else: sorted, filtered and drawn in the browser."""

import base64
import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from ddpm_lightning.atomic_files import write_text
from ddpm_lightning.report.rendering.aligned_samples import AlignedSamples
from ddpm_lightning.report.rendering.curves import Panel
from ddpm_lightning.report.rendering.format import (
    COLOURS,
    MISSING,
    configuration_label,
    cost_columns,
    cost_name,
    cost_text,
    effect_texts,
    estimate_texts,
    metric_name,
)
from ddpm_lightning.report.rendering.sentences import (
    TIE_MARK,
    card_line,
    comparison,
    improvement,
    reading,
    verdict_sentences,
)
from ddpm_lightning.report.score_names import higher_is_better
from ddpm_lightning.report.table import Effect, Estimate, Row, Table, Verdict

_MOST_POINTS = 300


@dataclass(frozen=True)
class Bar:
    """An interval drawn in a cell, in percent of the cell's width; `zero` is the place of no difference, if shown."""

    low: float
    mean: float
    high: float
    zero: float | None = None


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what is read.
        key: what is sorted by: a number or a word; empty where there is nothing.
        interval: [low, high], or empty.
        bar: the same, drawn.
        verdict: of a score, or empty.
    """

    text: str
    key: str
    interval: str = ""
    bar: Bar | None = None
    verdict: str = ""


def write_html(
    table: Table, samples: AlignedSamples, curves: list[Panel], path: Path, title: str, command: str
) -> None:
    """Writes the report as one file, with pictures and curves inside, that opens without a network.

    Args:
        table: what is reported.
        samples: a strip for each row of the table.
        curves: losses and scores over steps; drawn with at most 300 points each.
        path: the file.
        title: its heading.
        command: what made the report, to be made again.
    """
    environment = Environment(
        loader=PackageLoader("ddpm_lightning.report.rendering"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # NaN is no JSON: one would keep the whole page from being drawn.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "sort_keys": False}
    write_text(
        path,
        environment.get_template("report.html.jinja").render(
            title=title,
            command=command,
            comparison=comparison(table),
            reading=reading(table),
            verdicts=verdict_sentences(table),
            headings=_headings(table),
            primary=len(table.factors),
            primary_order="descending" if higher_is_better(table.metrics[0]) else "ascending",
            rows=_rows(table),
            choices=_choices(table),
            labels=[configuration_label(row) for row in table.rows],
            strips=[None if strip is None else _png(strip) for strip in samples.strips],
            samples_caption=samples.caption,
            effects=list(zip(table.effects, _effect_cells(table), strict=True)),
            improvement=improvement(table),
            cards=[card_line(card) for card in table.cards],
            notes=table.notes,
            tie_mark=TIE_MARK,
            metric_name=metric_name,
            data=_data(table, curves),
        ),
    )


def _headings(table: Table) -> list[str]:
    costs = map(cost_name, cost_columns(table.rows))
    return [*table.factors, *map(metric_name, table.metrics), "n", *costs]


def _rows(table: Table) -> list[list[Cell]]:
    costs = cost_columns(table.rows)
    columns = [_score_cells(table.rows, metric) for metric in table.metrics]
    return [
        [
            *(Cell(choice, choice) for choice in row.configuration.values()),
            *(column[place] for column in columns),
            Cell(str(len(row.runs)), str(len(row.runs))),
            *(Cell(cost_text(cost, row.cost.get(cost)), _key(row.cost.get(cost))) for cost in costs),
        ]
        for place, row in enumerate(table.rows)
    ]


def _score_cells(rows: list[Row], metric: str) -> list[Cell]:
    estimates = [row.estimates.get(metric) for row in rows]
    bars = _bars([estimate for estimate in estimates if estimate], with_zero=False)
    cells = []
    for row, estimate, (text, interval) in zip(rows, estimates, estimate_texts(estimates), strict=True):
        verdict = "" if text == MISSING else str(row.verdicts.get(metric, Verdict.UNKNOWN))
        bar = bars[id(estimate)] if estimate else None
        cells.append(Cell(text, _key(estimate.mean if estimate else None), interval, bar, verdict))
    return cells


def _effect_cells(table: Table) -> list[Cell]:
    bars: dict[int, Bar | None] = {}
    for metric in table.metrics:
        bars |= _bars([effect for effect in table.effects if effect.metric == metric], with_zero=True)
    texts = effect_texts(table.effects)
    return [
        Cell(text, _key(effect.mean), bar=bars.get(id(effect)))
        for effect, text in zip(table.effects, texts, strict=True)
    ]


def _bars(column: list[Estimate] | list[Effect], with_zero: bool) -> dict[int, Bar | None]:
    """Bars on a common scale, by the identity of what they show; none for what has no interval."""
    shown = [item for item in column if all(map(math.isfinite, (item.mean, item.low, item.high)))]
    ends = [end for item in shown for end in (item.low, item.high)] + ([0.0] if with_zero else [])
    left, right = min(ends, default=0.0), max(ends, default=0.0)
    scale = 96 / (right - left) if right > left else 0.0

    def place(value: float) -> float:
        return round(2 + (value - left) * scale, 2)

    bars: dict[int, Bar | None] = {id(item): None for item in column}
    zero = place(0.0) if with_zero else None
    return bars | {id(item): Bar(place(item.low), place(item.mean), place(item.high), zero) for item in shown}


def _key(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(float(value))


def _choices(table: Table) -> dict[str, list[str]]:
    """Factor -> its choices, numbers by size and before words, which keep the table's order."""
    return {
        factor: sorted(dict.fromkeys(row.configuration[factor] for row in table.rows), key=_by_size)
        for factor in table.factors
    }


def _by_size(choice: str) -> float:
    try:
        number = float(choice)
    except ValueError:
        return math.inf
    return math.inf if math.isnan(number) else number


def _png(strip: np.ndarray) -> str:
    """A strip (C, H, W), uint8, as a data URI."""
    buffer = BytesIO()
    picture = np.ascontiguousarray(strip.transpose(1, 2, 0))
    Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _data(table: Table, curves: list[Panel]) -> dict[str, Any]:
    """What the page's script needs."""
    return {
        "configurations": [row.configuration for row in table.rows],
        "labels": [configuration_label(row) for row in table.rows],
        "colours": COLOURS,
        "panels": [{"title": panel.title, "lines": _lines(panel)} for panel in curves],
    }


def _lines(panel: Panel) -> list[dict[str, Any]]:
    lines = []
    for line in panel.lines:
        curve = line.curve.thinned(_MOST_POINTS)
        points = [
            # A gap in the line, where the value is no number. Six digits: more would only make the file larger.
            [step, float(f"{value:.6g}") if math.isfinite(value) else None]
            for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True)
        ]
        lines.append({"row": line.row, "seed": line.seed, "points": points})
    return lines
