"""The cells of a report's tables, the same in Markdown and HTML."""

import math
from dataclasses import dataclass

from ddpm_lightning.report.rendering.format import (
    MISSING,
    cost_columns,
    cost_name,
    cost_text,
    effect_texts,
    estimate_texts,
    metric_name,
)
from ddpm_lightning.report.table import Row, Table

EFFECT_HEADINGS = ("metric", "factor", "change", "difference [95 % interval]", "seeds", "pairs")


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what is displayed.
        key: the value to sort by, a number or a word; empty where there is nothing.
        interval: [low, high], or empty.
        verdict: the verdict on a score, or empty.
    """

    text: str
    key: str
    interval: str = ""
    verdict: str = ""


def score_headings(table: Table) -> list[str]:
    """The headings of `score_cells`."""
    costs = map(cost_name, cost_columns(table.rows))
    return [*table.factors, *map(metric_name, table.metrics), "n", *costs]


def score_cells(table: Table) -> list[list[Cell]]:
    """A row of cells for each configuration: choices, scores, the number of runs, costs."""
    costs = cost_columns(table.rows)
    columns = [_column(table.rows, metric) for metric in table.metrics]
    return [
        [
            *(Cell(choice, choice) for choice in row.configuration.values()),
            *(column[i] for column in columns),
            Cell(str(len(row.runs)), str(len(row.runs))),
            *(Cell(cost_text(cost, row.cost.get(cost)), _key(row.cost.get(cost))) for cost in costs),
        ]
        for i, row in enumerate(table.rows)
    ]


def _column(rows: list[Row], metric: str) -> list[Cell]:
    estimates = [row.estimates[metric] for row in rows]
    return [
        Cell(text, _key(estimate.mean), interval, "" if text == MISSING else str(row.verdicts[metric]))
        for row, estimate, (text, interval) in zip(rows, estimates, estimate_texts(estimates), strict=True)
    ]


def effect_cells(table: Table) -> list[list[Cell]]:
    """A row of cells for each main effect."""
    return [
        [
            Cell(metric_name(effect.metric), metric_name(effect.metric)),
            Cell(effect.factor, effect.factor),
            Cell(f"{effect.baseline} → {effect.choice}", effect.choice),
            Cell(text, _key(effect.mean)),
            Cell(str(effect.num_seeds), str(effect.num_seeds)),
            Cell(str(effect.num_pairs), str(effect.num_pairs)),
        ]
        for effect, text in zip(table.effects, effect_texts(table.effects), strict=True)
    ]


def _key(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(float(value))
