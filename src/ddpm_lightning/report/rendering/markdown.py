"""A sweep's table as `report.md` for people and as `report.csv` for programs."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ddpm_lightning.atomic_files import atomic_path, write_text
from ddpm_lightning.report.rendering.cells import EFFECT_HEADINGS, Cell, effect_cells, score_cells, score_headings
from ddpm_lightning.report.rendering.figures import WrittenFigure
from ddpm_lightning.report.rendering.format import cost_columns
from ddpm_lightning.report.rendering.sentences import TIE_MARK, card_line, legend_sentences, overview, verdict_sentences
from ddpm_lightning.report.table import Table, Verdict


def write_markdown(table: Table, path: Path, title: str, command: str, figures: list[WrittenFigure]) -> None:
    """Writes the report in GitHub's dialect of Markdown, with the figures of the same folder."""
    # A longer fence than any in the command, which therefore cannot close it.
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", command)), default=0))
    parts = [
        f"# {_plain(title)}",
        _plain(overview(table)),
        f"{fence}sh\n{command}\n{fence}",
        "## Scores",
        _table(score_headings(table), score_cells(table), left=len(table.factors)),
        _plain(" ".join(legend_sentences(table))),
        _list(verdict_sentences(table)),
    ]
    for figure in figures:
        parts += [f"![{figure.title}]({figure.path.name})", _plain(figure.caption)]
    if table.effects:
        parts += ["## Main effects", _table(EFFECT_HEADINGS, effect_cells(table), left=3)]
    parts += ["## How the scores were made", _list([card_line(card) for card in table.cards])]
    if table.notes:
        parts += ["## Notes", _list(table.notes)]
    write_text(path, "\n\n".join(part for part in parts if part) + "\n")


def write_csv(table: Table, path: Path) -> None:
    """Writes one line for each configuration, with unrounded numbers; unknown values are empty cells."""
    records: list[dict[str, object]] = []
    for row in table.rows:
        record: dict[str, object] = dict(row.configuration)
        for metric in table.metrics:
            estimate = row.estimates[metric]
            record |= {
                f"{metric}_mean": estimate.mean,
                f"{metric}_sd": estimate.deviation,
                f"{metric}_n": len(estimate.values),
                f"{metric}_low": estimate.low,
                f"{metric}_high": estimate.high,
                f"{metric}_verdict": str(row.verdicts[metric]),
            }
        record |= {cost: row.cost.get(cost) for cost in cost_columns(table.rows)}
        records.append(record | {"seeds": " ".join(str(run.seed) for run in row.runs)})
    with atomic_path(path) as temporary:
        pd.DataFrame(records).to_csv(temporary, index=False)


def _text(cell: Cell) -> str:
    value = _plain(cell.text)
    if cell.verdict == Verdict.BEST:
        value = f"**{value}**"
    elif cell.verdict == Verdict.TIE:
        value += TIE_MARK
    return f"{value} {cell.interval}".strip()


def _table(names: Sequence[str], rows: list[list[Cell]], left: int) -> str:
    """A table with its first `left` columns aligned left, for words, and the others right, for numbers."""
    lines = [list(map(_text, row)) for row in rows]
    rule = [":--" if i < left else "--:" for i in range(len(names))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [list(map(_plain, names)), rule, *lines])


def _list(items: list[str]) -> str:
    return "\n".join(f"- {_plain(item)}" for item in items)


def _plain(text: str) -> str:
    """Text escaped so that Markdown shows it literally; `unet_small` needs no escapes, `_x_` does."""
    escaped = re.sub(r"[\\`*<>|~$]|&(?=[#\w]+;)|(?<!\w)_|_(?!\w)|\](?=[(\[])", r"\\\g<0>", text)
    return re.sub(r"\s+", " ", escaped)
