"""How numbers, names and colours are shown, the same in every part of a report."""

import math
from collections.abc import Iterable, Sequence

from ddpm_lightning.sweep.table import Effect, Estimate, Row

MISSING = "\N{EN DASH}"

# After Okabe and Ito (2008), told apart with any colour vision; without their black and yellow, so that each can be
# seen on white and on black.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#808080", "#999933")

_KINDS = {"kid": "KID", "fid": "FID", "mae": "MAE"}
_COSTS = {
    "parameters": "parameters",
    "train_images_per_second": "images/s",
    "wall_seconds": "wall time",
    "sampling_seconds": "sampling time",
}


def metric_name(metric: str) -> str:
    """A metric as it is printed: "KID (lenet)" for kid_lenet, "noise MAE" for noise_mae."""
    kind, _, features = metric.partition("_")
    if kind in ("kid", "fid") and features:
        return f"{_KINDS[kind]} ({features})"
    return " ".join(_KINDS.get(word, word) for word in metric.split("_"))


def cost_name(cost: str) -> str:
    """The heading of a cost's column."""
    return _COSTS.get(cost, cost.replace("_", " "))


def cost_columns(rows: Iterable[Row]) -> list[str]:
    """The costs that at least one row has: the known ones first, then others as they come."""
    present = dict.fromkeys(cost for row in rows for cost in row.cost)
    return [*(cost for cost in _COSTS if cost in present), *(cost for cost in present if cost not in _COSTS)]


def cost_text(cost: str, value: float | None) -> str:
    """A cost with its unit: a count, a rate, or a time in units that people use."""
    if value is None or not math.isfinite(value):
        return MISSING
    if cost.endswith("_seconds"):
        return duration(value)
    return magnitude(value) if cost == "parameters" else significant(value)


def significant(value: float) -> str:
    """Three significant digits, without an exponent."""
    return MISSING if not math.isfinite(value) else f"{value:.{decimals([value])}f}"


def magnitude(count: float) -> str:
    """A count with three significant digits: 970, 12.3 k, 1.23 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        # What rounds up to the next unit belongs there: 999,950 is 1.00 M, not 1000 k.
        if count >= 0.9995 * size:
            return significant(count / size) + unit
    return f"{count:.0f}"


def duration(seconds: float) -> str:
    """A time in the two units that matter: 0.52 s, 45.0 s, 3 min 20 s, 2 h 03 min, 1 d 04 h."""
    if seconds < 59.95:
        return f"{significant(seconds)} s"
    # Rounded before it is split, so that there is no "60 s" and no "60 min".
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours:02d} h"


def decimals(values: Iterable[float]) -> int:
    """How many decimals a column needs for three significant digits.

    The smallest value decides, but no value gets more than two digits beyond what the largest needs: a KID next to zero
    must not blow up all the others.
    """
    # The exponent once rounded: 0.9996 is shown as 1.00.
    exponents = [int(f"{value:.2e}".partition("e")[2]) for value in values if value and math.isfinite(value)]
    needs = [max(0, 2 - exponent) for exponent in exponents]
    return min(max(needs), min(needs) + 2) if needs else 0


def estimate_texts(estimates: Sequence[Estimate | None]) -> list[tuple[str, str]]:
    """A column of a table: for each estimate ("mean ± deviation", "[low, high]"), with the same decimals throughout.

    What is not known is left out: there is no deviation of one seed. A score that is not finite is MISSING.
    """
    places = decimals(estimate.mean for estimate in estimates if estimate)
    return [_estimate_text(estimate, places) for estimate in estimates]


def _estimate_text(estimate: Estimate | None, places: int) -> tuple[str, str]:
    if estimate is None or not math.isfinite(estimate.mean):
        return MISSING, ""
    value = f"{estimate.mean:.{places}f}"
    if math.isfinite(estimate.deviation):
        value += f" ± {estimate.deviation:.{places}f}"
    return value, interval_text(estimate.low, estimate.high, places)


def interval_text(low: float, high: float, places: int, sign: str = "") -> str:
    """`[low, high]`, or nothing where there is none; `sign="+"` shows both signs."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{low:{sign}.{places}f}, {high:{sign}.{places}f}]"


def effect_texts(effects: Sequence[Effect]) -> list[str]:
    """Signed differences with their intervals; effects on one metric have the same decimals."""
    texts = []
    for effect in effects:
        places = decimals(other.mean for other in effects if other.metric == effect.metric)
        known = math.isfinite(effect.mean)
        interval = interval_text(effect.low, effect.high, places, sign="+") if known else ""
        texts.append(f"{effect.mean:+.{places}f} {interval}".strip() if known else MISSING)
    return texts


def configuration_label(row: Row) -> str:
    """A configuration in one line: "schedule=cosine, loss_on=noise"."""
    return ", ".join(f"{factor}={choice}" for factor, choice in row.configuration.items()) or "all runs"
