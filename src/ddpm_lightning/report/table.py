"""The table of a sweep: one row per configuration, with error bars and verdicts."""

from dataclasses import dataclass
from enum import StrEnum

from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.report.finished_run import FinishedRun


class Verdict(StrEnum):
    """What the paired comparison says of a configuration's score."""

    BEST = "best"
    """Significantly better than every other one."""
    TIE = "tie"
    """Not significantly different from the one with the best mean."""
    WORSE = "worse"
    """Significantly worse than the one with the best mean."""
    UNKNOWN = "unknown"
    """No comparison is possible: fewer than two seeds in common."""


@dataclass(frozen=True)
class Estimate:
    """A score of a configuration, over seeds.

    Attributes:
        values: seed -> value.
        mean: over seeds.
        deviation: sample standard deviation over seeds; NaN for one seed.
        low, high: 95 % interval of the expected value; NaN where there is none.
        covers: what the interval covers, as text; empty where there is none.
    """

    values: dict[int, float]
    mean: float
    deviation: float
    low: float
    high: float
    covers: str


@dataclass(frozen=True)
class Row:
    """One configuration.

    Attributes:
        configuration: factor -> choice, in the order of the table's factors.
        runs: its runs, by seed.
        estimates: metric -> estimate.
        verdicts: metric -> verdict.
        cost: name -> mean over runs; only what was measured.
    """

    configuration: dict[str, str]
    runs: list[FinishedRun]
    estimates: dict[str, Estimate]
    verdicts: dict[str, Verdict]
    cost: dict[str, float]


@dataclass(frozen=True)
class Effect:
    """What changing one factor alone does to a metric, averaged over the choices of the others.

    Attributes:
        metric: name of the metric.
        factor: name of the factor.
        baseline, choice: the change is from baseline to choice; a negative difference is an improvement, but a
            positive one where `higher_is_better`.
        mean: mean difference.
        low, high: 95 % interval over seeds; NaN for one seed.
        num_seeds: seeds that have pairs.
        num_pairs: pairs of configurations that differ in this factor alone, over all those seeds.
    """

    metric: str
    factor: str
    baseline: str
    choice: str
    mean: float
    low: float
    high: float
    num_seeds: int
    num_pairs: int


@dataclass(frozen=True)
class Table:
    """A sweep's result.

    Attributes:
        factors: what differs between rows, in the order of the columns.
        metrics: names of the scores, in the order of the columns; the first is the one that the rows are sorted by.
        rows: the configurations, best first.
        effects: main effects, of all metrics.
        cards: the distinct metric cards, but for their seeds; more than one where the sampler is what is studied.
        notes: remarks for the reader, in whole sentences.
    """

    factors: list[str]
    metrics: list[str]
    rows: list[Row]
    effects: list[Effect]
    cards: list[MetricCard]
    notes: list[str]
