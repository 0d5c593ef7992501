"""Builds the table of a sweep: groups finished runs into configurations and compares them."""

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.metrics.cards import Card
from ddpm_lightning.metrics.directions import higher_is_better
from ddpm_lightning.report.comparable import check_comparable
from ddpm_lightning.report.estimate import SAMPLES, SEEDS_AND_SAMPLES, estimate, scores
from ddpm_lightning.report.finished_run import FinishedRun
from ddpm_lightning.report.score_names import NAMES, OTHER_SCORES, SAMPLE_SCORES
from ddpm_lightning.report.shared_snr_buckets import average_over_shared_buckets
from ddpm_lightning.report.statistics import confounded, main_effects, verdicts
from ddpm_lightning.report.table import Effect, Estimate, Row, Table, Verdict
from ddpm_lightning.runs.options import Role, role_of

ABSENT = "-"
"""The choice of a run without the option."""

Choices = dict[str, str]
Runs = dict[int, FinishedRun]  # by seed
Values = TypeVar("Values", float, np.ndarray)


def build_table(runs: Sequence[FinishedRun], by: Sequence[str] | None = None, metric: str | None = None) -> Table:
    """The table of a sweep.

    Args:
        runs: in the order in which choices are listed; the first choice of a factor is its baseline.
        by: options that distinguish configurations; None for every option with more than one value.
        metric: the score that the rows are sorted by, one of `score_names.NAMES`; None for the first that there is.

    Raises:
        ValueError: no runs, an unknown option or metric, runs that are not comparable, several runs of one
            configuration and seed, or features that do not reproduce the KID of their run.
    """
    if not runs:
        raise ValueError("there are no finished runs to report")
    factors = _factors(runs, by)
    check_comparable(runs, factors)
    runs, notes_on_errors = average_over_shared_buckets(runs)
    metrics = _metrics(runs, metric, notes_on_errors)
    groups = _group(runs, factors)
    notes = _notes_on_factors(runs, [choices for choices, _ in groups], factors) + notes_on_errors
    estimates = [{name: estimate(name, members) for name in metrics} for _, members in groups]
    effects, compared = [], {}
    for name in metrics:
        scored = [(choices, by_metric[name]) for (choices, _), by_metric in zip(groups, estimates, strict=True)]
        notes += _notes_on_scores(name, scored)
        effects += _effects(name, scored)
        compared[name] = _compare(name, scored, notes)
    rows = [
        Row(
            configuration=choices,
            runs=list(members.values()),
            estimates=estimates[i],
            verdicts={name: compared[name][i] for name in metrics},
            cost=_cost(members.values()),
        )
        for i, (choices, members) in enumerate(groups)
    ]
    rows.sort(key=lambda row: _not_finite_last(_as_cost(metrics[0], row.estimates[metrics[0]].mean)))
    cards: dict[tuple, Card] = {}
    for run in runs:
        cards.setdefault(tuple(run.card.flat().items()), run.card)
    return Table(factors, metrics, rows, effects, list(cards.values()), notes)


def _factors(runs: Sequence[FinishedRun], by: Sequence[str] | None) -> list[str]:
    if by is None:
        return _varying(runs)
    options = dict.fromkeys(name for run in runs for name in run.options)
    unknown = [name for name in by if name not in options]
    if unknown:
        if seeds := [option for option in unknown if role_of(option) is Role.SEED]:
            raise ValueError(f"by={seeds[0]}: seeds are never rows, they are the replicates of each row. Leave it out")
        raise ValueError(f"no run has the option {', '.join(unknown)} of by=: these runs have {', '.join(options)}")
    return list(dict.fromkeys(by))


def _varying(runs: Sequence[FinishedRun]) -> list[str]:
    """The options that take more than one value over the runs, in order of appearance."""
    options = dict.fromkeys(name for run in runs for name in run.options)
    return [name for name in options if len({run.options.get(name, ABSENT) for run in runs}) > 1]


def _metrics(runs: Sequence[FinishedRun], metric: str | None, notes_on_errors: Sequence[str]) -> list[str]:
    """The scores that any run has, `metric` first. The notes may explain in an error why `metric` is missing."""
    card = runs[0].card
    of_samples = {short: f"{short}_{card.features}" for short in SAMPLE_SCORES} if isinstance(card, MetricCard) else {}
    names = {**of_samples, **{name: name for name in OTHER_SCORES}}
    present = {short: name for short, name in names.items() if any(name in scores(run) for run in runs)}
    metric = metric or next(iter(present), NAMES[0])
    first = present.get(metric, metric)
    if first not in present.values():
        known = f"these runs have {', '.join(present) or 'no scores'}"
        raise ValueError("; ".join([f"unknown metric {metric!r}: {known}", *notes_on_errors]))
    return [first, *(name for name in present.values() if name != first)]


def _group(runs: Sequence[FinishedRun], factors: Sequence[str]) -> list[tuple[Choices, Runs]]:
    """The configurations in order of appearance, each with its runs by seed."""
    groups: dict[tuple[str, ...], dict[int, list[FinishedRun]]] = {}
    for run in runs:
        chosen = tuple(run.options.get(factor, ABSENT) for factor in factors)
        groups.setdefault(chosen, {}).setdefault(run.seed, []).append(run)
    configurations = []
    for chosen, by_seed in groups.items():
        choices = dict(zip(factors, chosen, strict=True))
        for seed, same in by_seed.items():
            if len(same) > 1:
                folders = ", ".join(str(run.folder) for run in same)
                raise ValueError(f"{len(same)} runs of {_label(choices)} have seed={seed}: {folders}; {_advice(same)}")
        configurations.append((choices, {seed: by_seed[seed][0] for seed in sorted(by_seed)}))
    return configurations


def _advice(same: Sequence[FinishedRun]) -> str:
    differing = _varying(same)
    if differing:
        return f"they differ in {', '.join(differing)}: add the options you study to by=, and leave the other runs out"
    return "they have the same options: leave all but one out"


def _label(choices: Choices) -> str:
    return ", ".join(f"{factor}={choice}" for factor, choice in choices.items()) or "the one configuration"


def _notes_on_factors(
    runs: Sequence[FinishedRun], configurations: Sequence[Choices], factors: Sequence[str]
) -> list[str]:
    unnamed = [name for name in _varying(runs) if name not in factors]
    notes = [f"The runs also differ in {', '.join(unnamed)}, which this table does not distinguish."] if unnamed else []
    groups = confounded(factors, configurations)
    return notes + [
        f"{' and '.join(group)} always change together: their effects cannot be separated."
        for group in groups
        if len(group) > 1
    ]


EstimateByConfiguration = Sequence[tuple[Choices, Estimate]]  # of one metric


def _notes_on_scores(metric: str, scored: EstimateByConfiguration) -> list[str]:
    notes = []
    for choices, estimated in scored:
        seeds = [seed for seed, value in estimated.values.items() if not math.isfinite(value)]
        if seeds:
            notes.append(
                f"{metric} of {_label(choices)} is not a finite number for seed {_list(seeds)}: this configuration is "
                "excluded from the comparison and from the effects."
            )
    without_features = [
        _label(choices)
        for choices, estimated in scored
        if math.isfinite(estimated.mean) and estimated.covers not in (SAMPLES, SEEDS_AND_SAMPLES)
    ]
    if metric.startswith("kid_") and without_features:
        notes.append(
            f"The error bar of {metric} covers only the scatter between seeds, and is missing for a single seed, "
            f"because a run kept no features: {'; '.join(without_features)}."
        )
    return notes


def _effects(metric: str, scored: EstimateByConfiguration) -> list[Effect]:
    """The main effects on a metric. The baseline is a factor's first choice, whether its scores are finite or not."""
    return main_effects(
        metric,
        [choices for choices, _ in scored],
        [estimated.values if math.isfinite(estimated.mean) else {} for _, estimated in scored],
    )


def _compare(metric: str, scored: EstimateByConfiguration, notes: list[str]) -> list[Verdict]:
    """The verdict on each configuration, from the seeds that all configurations with finite scores share.

    Appends a note if a seed is not shared by all of them.
    """
    verdict_by_row = dict.fromkeys(range(len(scored)), Verdict.UNKNOWN)
    values = {row: estimated.values for row, (_, estimated) in enumerate(scored) if math.isfinite(estimated.mean)}
    if len(values) > 1:
        shared = sorted(set.intersection(*map(set, values.values())))
        other = sorted(set.union(*map(set, values.values())) - set(shared))
        if len(shared) < 2:
            notes.append(f"{metric} is not compared: a comparison takes two seeds that all configurations have.")
        elif other:
            notes.append(
                f"{metric} is compared on the seeds that all configurations have ({_list(shared)}), without "
                f"{_list(other)}."
            )
        table = np.array([[by_seed[seed] for seed in shared] for by_seed in values.values()])
        found = verdicts(_as_cost(metric, table))
        verdict_by_row |= dict(zip(values, found, strict=True))
    return list(verdict_by_row.values())


def _cost(runs: Iterable[FinishedRun]) -> dict[str, float]:
    measured: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run.cost.items():
            measured.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in measured.items()}


def _as_cost(metric: str, values: Values) -> Values:
    """The values, negated if higher is better, so that lower is always better."""
    return -values if higher_is_better(metric) else values


def _list(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


def _not_finite_last(value: float) -> tuple[bool, float]:
    return (False, value) if math.isfinite(value) else (True, 0.0)
