"""The sentences of a report about a sweep's table."""

from collections.abc import Mapping
from typing import Any

from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.metrics.cards import Card
from ddpm_lightning.metrics.classifier_card import ClassifierCard
from ddpm_lightning.metrics.directions import higher_is_better
from ddpm_lightning.metrics.likelihood.card import LikelihoodCard
from ddpm_lightning.report.rendering.format import configuration_label, metric_name
from ddpm_lightning.report.table import Row, Table, Verdict

TIE_MARK = "⁼"
"""Marks a score that is not significantly different from the best mean."""


def overview(table: Table) -> str:
    """One sentence with the configurations, runs, factors and seeds of a table."""
    runs = sum(len(row.runs) for row in table.rows)
    by_row = [{run.seed for run in row.runs} for row in table.rows]
    seeds = sorted(set().union(*by_row))
    counts = f"{_count(len(table.rows), 'configuration')} from {_count(runs, 'run')}"
    factors = f", which differ in {_listed(table.factors)}" if table.factors else ""
    incomplete = "" if all(own == set(seeds) for own in by_row) else " (some configurations lack some of them)"
    return f"{counts}{factors}; {'seeds' if len(seeds) != 1 else 'seed'} {_listed(seeds)}{incomplete}."


def legend_sentences(table: Table) -> list[str]:
    """The legend of the table of scores: which direction is better, and which errors the intervals cover."""
    higher = [metric_name(metric) for metric in table.metrics if higher_is_better(metric)]
    if not higher:
        better = "Lower is better"
    elif len(higher) == len(table.metrics):
        better = "Higher is better"
    else:
        better = f"Higher is better for {_listed(higher)}, lower for the others"
    sentences = [f"{better}. Cells show mean ± standard deviation over seeds [95 % interval]."]
    covered: dict[str, list[str]] = {}
    for metric in table.metrics:
        found = [row.estimates[metric].covers for row in table.rows]
        covers = " or ".join(dict.fromkeys(words for words in found if words))
        covered.setdefault(covers, []).append(metric_name(metric))
    sentences += [f"Intervals of {_listed(metrics)} cover {covers}." for covers, metrics in covered.items() if covers]
    if any(verdict is Verdict.TIE for row in table.rows for verdict in row.verdicts.values()):
        sentences.append(f"{TIE_MARK} = not significantly different from the best mean.")
    return sentences


def verdict_sentences(table: Table) -> list[str]:
    """The result of the comparison for each metric; empty for a single configuration."""
    if len(table.rows) < 2:
        return []
    return [f"{metric_name(metric)}: {_verdict(table, metric)}" for metric in table.metrics]


def _verdict(table: Table, metric: str) -> str:
    groups: dict[Verdict, list[Row]] = {verdict: [] for verdict in Verdict}
    for row in table.rows:
        groups[row.verdicts[metric]].append(row)
    comparative, superlative = ("higher", "highest") if higher_is_better(metric) else ("lower", "lowest")
    best, ties, unknown = groups[Verdict.BEST], groups[Verdict.TIE], groups[Verdict.UNKNOWN]
    if len(unknown) == len(table.rows):
        return "the configurations cannot be compared: fewer than two common seeds."
    if best:
        sentence = f"{_labels(best)} is significantly {comparative} than every other configuration."
    elif len(ties) == len(table.rows):
        count = "both" if len(ties) == 2 else f"all {len(ties)}"
        sentence = f"no significant differences: {count} configurations tie."
    else:
        sentence = f"no significant difference among the {superlative}: {_labels(ties)} (ties)."
        if groups[Verdict.WORSE]:
            sentence += " The others are significantly worse."
    if unknown:
        sentence += f" Not compared: {_labels(unknown)}."
    return sentence


def card_line(card: Card) -> str:
    """A card in one line of text."""
    if isinstance(card, LikelihoodCard):
        return _likelihood_line(card)
    return _accuracy_line(card) if isinstance(card, ClassifierCard) else _score_line(card)


def _accuracy_line(card: ClassifierCard) -> str:
    return f"{card.num_images:,} noised images, {card.split} split of {card.dataset}; {card.weights} weights"


def _likelihood_line(card: LikelihoodCard) -> str:
    labels = "" if card.labels is None else f", labels {card.labels}"
    methods = "; ".join(_described(part) for part in (card.bound, card.ode) if part is not None)
    return (
        f"{card.num_images:,} images, {card.split} split of {card.dataset}{labels}; {methods}; {card.weights} weights"
    )


def _score_line(card: MetricCard) -> str:
    labels = "" if card.labels is None else f", labels {card.labels.replace('_', ' ')}"
    return (
        f"features {card.features} (sha256 {card.features_sha256[:12]}, resize: {card.resize}); "
        f"{card.num_generated:,} generated and {card.num_real:,} real images, "
        f"{card.split} split of {card.dataset}{labels}; sampler {_described(card.sampler)}, "
        f"{_count(card.nfe, 'network evaluation')} per sample; "
        f"guidance {_described(card.guidance)}; {card.weights} weights"
    )


def _described(part: Mapping[str, Any]) -> str:
    """The name of a sampler, grid or guidance with its options: "ddim (steps 25, grid uniform, eta 0)"."""
    options = ", ".join(
        f"{option} {_described(value) if isinstance(value, Mapping) else _word(value)}"
        for option, value in part.items()
        if option != "name"
    )
    return f"{part['name']} ({options})" if options else str(part["name"])


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "no" if not value else "yes"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _labels(rows: list[Row]) -> str:
    # Semicolons, since labels contain commas.
    return "; ".join(configuration_label(row) for row in rows)


def _listed(items: list[str] | list[int]) -> str:
    *others, last = map(str, items)
    return f"{', '.join(others)} and {last}" if others else last


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"
