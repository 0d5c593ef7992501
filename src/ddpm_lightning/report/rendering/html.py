"""A sweep's report as one self-contained HTML file, with a table to sort and filter."""

import base64
import math
from io import BytesIO
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from ddpm_lightning.atomic_files import write_text
from ddpm_lightning.metrics.directions import higher_is_better
from ddpm_lightning.report.rendering.aligned_samples import AlignedSamples
from ddpm_lightning.report.rendering.cells import EFFECT_HEADINGS, effect_cells, score_cells, score_headings
from ddpm_lightning.report.rendering.figures import WrittenFigure
from ddpm_lightning.report.rendering.format import configuration_label
from ddpm_lightning.report.rendering.sentences import TIE_MARK, card_line, legend_sentences, overview, verdict_sentences
from ddpm_lightning.report.table import Table

_PIXELS_PER_INCH = 112
"""The figures' size on the page: their characters are a little smaller than the page's."""


def write_html(
    table: Table, samples: AlignedSamples, figures: list[WrittenFigure], path: Path, title: str, command: str
) -> None:
    """Writes the report as one file that contains its pictures and opens without a network.

    The figures are embedded, except for samples.png, since the strips of `samples` show the same.
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
            overview=overview(table),
            legend=legend_sentences(table),
            verdicts=verdict_sentences(table),
            headings=score_headings(table),
            primary=len(table.factors),
            primary_order="descending" if higher_is_better(table.metrics[0]) else "ascending",
            rows=score_cells(table),
            choices=_choices(table),
            labels=[configuration_label(row) for row in table.rows],
            strips=[None if strip is None else _png(strip) for strip in samples.strips],
            samples_caption=samples.caption,
            figures={figure.path.name: figure for figure in figures},
            pixels_per_inch=_PIXELS_PER_INCH,
            data_uri=_data_uri,
            effects=effect_cells(table),
            effect_headings=EFFECT_HEADINGS,
            cards=[card_line(card) for card in table.cards],
            notes=table.notes,
            tie_mark=TIE_MARK,
        ),
    )


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
