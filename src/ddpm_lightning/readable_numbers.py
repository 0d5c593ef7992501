"""Human-readable counts and durations."""

import math
from collections.abc import Iterable


def significant(value: float) -> str:
    """A number with three significant digits, without an exponent."""
    return f"{value:.{decimals([value])}f}"


def magnitude(count: float) -> str:
    """A count with three significant digits: 970, 12.3 k, 1.23 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        # A count that rounds up to the next unit gets that unit: 999,950 is 1.00 M, not 1000 k.
        if count >= 0.9995 * size:
            return significant(count / size) + unit
    return f"{count:.0f}"


def duration(seconds: float) -> str:
    """A duration in its one or two largest units: 0.520 s, 45.0 s, 3 min 20 s, 2 h 03 min, 1 d 04 h."""
    if seconds < 59.95:
        return f"{significant(seconds)} s"
    # Rounded before it is split into units, so that "60 s" and "60 min" do not occur.
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours:02d} h"


def decimals(values: Iterable[float]) -> int:
    """The number of decimals at which a column shows three significant digits.

    The smallest value decides, up to two decimals more than the largest value needs: a KID near zero must not lengthen
    all the others.
    """
    # The exponent after rounding, since 0.9996 is shown as 1.00.
    exponents = [int(f"{value:.2e}".partition("e")[2]) for value in values if value and math.isfinite(value)]
    needs = [max(0, 2 - exponent) for exponent in exponents]
    return min(max(needs), min(needs) + 2) if needs else 0
