"""A sweep's report as one self-contained HTML file, with a table to sort and filter."""

import base64
import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from ddpm_lightning.atomic_files import write_text
from ddpm_lightning.report.rendering.aligned_samples import AlignedSamples
from ddpm_lightning.report.rendering.figures import WrittenFigure
from ddpm_lightning.report.rendering.format import (
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
from ddpm_lightning.report.table import Row, Table, Verdict

_PIXELS_PER_INCH = 112
"""The figures' size on the page: their letters are a little smaller than the page's."""


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


def write_html(
    table: Table, samples: AlignedSamples, figures: list[WrittenFigure], path: Path, title: str, command: str
) -> None:
    """Writes the report as one file that contains its pictures and opens without a network.

    Args:
        table: the result to report.
        samples: a strip for each row of the table.
        figures: the report's figures, which are embedded; samples.png is not, since the strips show the same.
        path: the file.
        title: its heading.
        command: the shell command that reproduces the report.
    """
    environment = Environment(
        loader=PackageLoader("ddpm_lightning.report.rendering"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
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
            figures={figure.path.name: figure for figure in figures},
            pixels_per_inch=_PIXELS_PER_INCH,
            data_uri=_data_uri,
            effects=_effect_rows(table),
            improvement=improvement(table),
            cards=[card_line(card) for card in table.cards],
            notes=table.notes,
            tie_mark=TIE_MARK,
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
    cells = []
    for row, estimate, (text, interval) in zip(rows, estimates, estimate_texts(estimates), strict=True):
        verdict = "" if text == MISSING else str(row.verdicts.get(metric, Verdict.UNKNOWN))
        cells.append(Cell(text, _key(estimate.mean if estimate else None), interval, verdict))
    return cells


def _effect_rows(table: Table) -> list[list[Cell]]:
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


def _choices(table: Table) -> dict[str, list[str]]:
    """Factor -> its choices: numbers by size, then words in the table's order."""
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


def _png(strip: np.ndarray) -> bytes:
    """A strip (C, H, W), uint8, as a PNG."""
    buffer = BytesIO()
    picture = np.ascontiguousarray(strip.transpose(1, 2, 0))
    Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
