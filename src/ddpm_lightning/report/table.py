"""The table of a sweep: one row for each configuration, with error bars and verdicts."""

from dataclasses import dataclass
from enum import StrEnum

from ddpm_lightning.report.finished_run import Card, FinishedRun


class Verdict(StrEnum):
    """The result of the paired comparison of a configuration's score with the others'."""

    BEST = "best"
    """Significantly better than every other configuration."""
    TIE = "tie"
    """Not significantly different from the configuration with the best mean."""
    WORSE = "worse"
    """Significantly worse than the configuration with the best mean."""
    UNKNOWN = "unknown"
    """Not comparable: fewer than two common seeds, or a score that is not finite."""


@dataclass(frozen=True)
class Estimate:
    """A score of one configuration over its seeds.

    Attributes:
        values: seed -> value.
        mean: mean over seeds.
        deviation: sample standard deviation over seeds; NaN for one seed.
        low, high: 95 % interval of the expected value; NaN where there is none.
        covers: the sources of error in the interval, "seeds and samples"; empty where there is none.
    """

    values: dict[int, float]
    mean: float
    deviation: float
    low: float
    high: float
    covers: str


@dataclass(frozen=True)
class Row:
    """One configuration of a sweep.

    Attributes:
        configuration: factor -> choice, in the order of the table's factors.
        runs: its runs, in the order of their seeds.
        estimates: metric -> estimate.
        verdicts: metric -> verdict.
        cost: name -> mean over the runs that measured it.
    """

    configuration: dict[str, str]
    runs: list[FinishedRun]
    estimates: dict[str, Estimate]
    verdicts: dict[str, Verdict]
    cost: dict[str, float]


@dataclass(frozen=True)
class Effect:
    """The change of a metric when one factor alone changes, averaged over the choices of the other factors.

    Attributes:
        metric: name of the metric.
        factor: name of the factor.
        baseline, choice: the factor changes from baseline to choice.
        mean: mean difference of the metric, choice minus baseline.
        low, high: 95 % interval over seeds; NaN for one seed.
        num_seeds: number of seeds with pairs.
        num_pairs: number of pairs of configurations that differ in this factor alone, over all seeds.
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
    """The result of a sweep.

    Attributes:
        factors: the options that differ between rows, in the order of the columns.
        metrics: names of the scores, in the order of the columns; the rows are sorted by the first one.
        rows: the configurations, best first.
        effects: main effects on all metrics.
        cards: the metric cards that differ in more than their seeds; several where a factor is on the card, such as
            the sampler.
        notes: remarks for the reader, in whole sentences.
    """

    factors: list[str]
    metrics: list[str]
    rows: list[Row]
    effects: list[Effect]
    cards: list[Card]
    notes: list[str]
