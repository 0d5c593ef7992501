"""A sweep's table as `report.md` for people and as `report.csv` for programs."""

import re
from pathlib import Path

import pandas as pd

from ddpm_lightning.atomic_files import atomic_path, write_text
from ddpm_lightning.report.rendering.figures import WrittenFigure
from ddpm_lightning.report.rendering.format import (
    MISSING,
    cost_columns,
    cost_name,
    cost_text,
    effect_texts,
    estimate_texts,
    metric_name,
)
from ddpm_lightning.report.rendering.sentences import TIE_MARK, card_line, comparison, reading, verdict_sentences
from ddpm_lightning.report.table import Table, Verdict


def write_markdown(table: Table, path: Path, title: str, command: str, figures: list[WrittenFigure]) -> None:
    """Writes the report in GitHub's dialect of Markdown.

    Args:
        table: the result to report.
        path: the file.
        title: its heading.
        command: the shell command that reproduces the report.
        figures: figures in the same folder, which the report shows.
    """
    # A longer fence than any in the command, which therefore cannot close it.
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", command)), default=0))
    parts = [
        f"# {_plain(title)}",
        _plain(comparison(table)),
        f"{fence}sh\n{command}\n{fence}",
        "## Scores",
        _scores(table),
        _plain(" ".join(reading(table))),
        _list(verdict_sentences(table)),
    ]
    for figure in figures:
        parts += [f"![{figure.title}]({figure.path.name})", _plain(figure.caption)]
    if table.effects:
        parts += ["## Main effects", _effects(table)]
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
            estimate = row.estimates.get(metric)
            record |= {
                f"{metric}_mean": estimate and estimate.mean,
                f"{metric}_sd": estimate and estimate.deviation,
                f"{metric}_n": len(estimate.values) if estimate else 0,
                f"{metric}_low": estimate and estimate.low,
                f"{metric}_high": estimate and estimate.high,
                f"{metric}_verdict": str(row.verdicts.get(metric, Verdict.UNKNOWN)),
            }
        record |= {cost: row.cost.get(cost) for cost in cost_columns(table.rows)}
        records.append(record | {"seeds": " ".join(str(run.seed) for run in row.runs)})
    with atomic_path(path) as temporary:
        pd.DataFrame(records).to_csv(temporary, index=False)


def _scores(table: Table) -> str:
    costs = cost_columns(table.rows)
    columns = [_score_column(table, metric) for metric in table.metrics]
    lines = [
        [
            *(_plain(choice) for choice in row.configuration.values()),
            *(column[place] for column in columns),
            str(len(row.runs)),
            *(cost_text(cost, row.cost.get(cost)) for cost in costs),
        ]
        for place, row in enumerate(table.rows)
    ]
    names = [*table.factors, *map(metric_name, table.metrics), "n", *map(cost_name, costs)]
    return _table([_plain(name) for name in names], lines, left=len(table.factors))


def _score_column(table: Table, metric: str) -> list[str]:
    cells = []
    texts = estimate_texts([row.estimates.get(metric) for row in table.rows])
    for row, (value, interval) in zip(table.rows, texts, strict=True):
        verdict = row.verdicts.get(metric)
        if value != MISSING and verdict is Verdict.BEST:
            value = f"**{value}**"
        elif value != MISSING and verdict is Verdict.TIE:
            value += TIE_MARK
        cells.append(f"{value} {interval}".strip())
    return cells


def _effects(table: Table) -> str:
    lines = [
        [
            _plain(metric_name(effect.metric)),
            _plain(effect.factor),
            _plain(f"{effect.baseline} → {effect.choice}"),
            text,
            str(effect.num_seeds),
            str(effect.num_pairs),
        ]
        for effect, text in zip(table.effects, effect_texts(table.effects), strict=True)
    ]
    return _table(["metric", "factor", "change", "difference [95 % interval]", "seeds", "pairs"], lines, left=3)


def _table(names: list[str], lines: list[list[str]], left: int) -> str:
    """A table with its first `left` columns aligned left, for words, and the others right, for numbers."""
    rule = [":--" if place < left else "--:" for place in range(len(names))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [names, rule, *lines])


def _list(items: list[str]) -> str:
    return "\n".join(f"- {_plain(item)}" for item in items)


def _plain(text: str) -> str:
    """Text escaped so that Markdown shows it literally; `unet_small` needs no escapes, `_x_` does."""
    escaped = re.sub(r"[\\`*<>|~$]|&(?=[#\w]+;)|(?<!\w)_|_(?!\w)|\](?=[(\[])", r"\\\g<0>", text)
    return re.sub(r"\s+", " ", escaped)
