"""The format of numbers and names, the same in every part of a report."""

import math
from collections.abc import Iterable, Sequence

from ddpm_lightning.readable_numbers import decimals, duration, magnitude, significant
from ddpm_lightning.report.score_names import is_sample_score, score_of
from ddpm_lightning.report.table import Effect, Estimate, Row

MISSING = "\N{EN DASH}"

_COSTS = {
    "parameters": "parameters",
    "train_images_per_second": "images/s",
    "wall_seconds": "wall time",
    "sampling_seconds": "sampling time",
    "network_evaluations": "NFE",
}


def metric_name(metric: str) -> str:
    """The printed name of a metric: "KID (lenet)" for kid_lenet, "noise MAE" for noise_mae."""
    title = score_of(metric).title
    _, _, features = metric.partition("_")
    return f"{title} ({features})" if is_sample_score(metric) and features else title


def cost_name(cost: str) -> str:
    """The heading of a cost's column."""
    return _COSTS.get(cost, cost.replace("_", " "))


def cost_columns(rows: Iterable[Row]) -> list[str]:
    """The costs that at least one row has: those with a heading of their own first, then the others."""
    present = dict.fromkeys(cost for row in rows for cost in row.cost)
    return [*(cost for cost in _COSTS if cost in present), *(cost for cost in present if cost not in _COSTS)]


def cost_text(cost: str, value: float | None) -> str:
    """A human-readable cost: a count, a rate or a duration."""
    if value is None or not math.isfinite(value):
        return MISSING
    if cost.endswith("_seconds"):
        return duration(value)
    return magnitude(value) if cost == "parameters" else significant(value)


def estimate_texts(estimates: Sequence[Estimate]) -> list[tuple[str, str]]:
    """A column of a table: for each estimate ("mean ± deviation", "[low, high]"), all with the same decimals.

    Unknown parts are left out, such as the deviation of one seed. A score that is not finite is MISSING.
    """
    places = decimals(estimate.mean for estimate in estimates)
    return [_estimate_text(estimate, places) for estimate in estimates]


def _estimate_text(estimate: Estimate, places: int) -> tuple[str, str]:
    if not math.isfinite(estimate.mean):
        return MISSING, ""
    value = f"{estimate.mean:.{places}f}"
    if math.isfinite(estimate.deviation):
        value += f" ± {estimate.deviation:.{places}f}"
    return value, interval_text(estimate.low, estimate.high, places)


def interval_text(low: float, high: float, places: int, sign: str = "") -> str:
    """The interval "[low, high]", or "" if it is not finite; `sign="+"` also shows plus signs."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{low:{sign}.{places}f}, {high:{sign}.{places}f}]"


def effect_texts(effects: Sequence[Effect]) -> list[str]:
    """Signed differences with their intervals; effects on the same metric have the same decimals."""
    texts = []
    for effect in effects:
        places = decimals(other.mean for other in effects if other.metric == effect.metric)
        interval = interval_text(effect.low, effect.high, places, sign="+")
        texts.append(f"{effect.mean:+.{places}f} {interval}".strip())
    return texts


def configuration_label(row: Row) -> str:
    """A configuration in one line: "schedule=cosine, loss_on=noise"."""
    return ", ".join(f"{factor}={choice}" for factor, choice in row.configuration.items()) or "all runs"
