import math

import pytest

from ddpm_lightning.report.rendering.format import (
    MISSING,
    cost_columns,
    cost_text,
    decimals,
    duration,
    effect_texts,
    estimate_texts,
    magnitude,
    metric_name,
    significant,
)
from ddpm_lightning.report.table import Effect, Estimate, Row

NAN = float("nan")


def estimate(mean, deviation=NAN, low=NAN, high=NAN):
    return Estimate({0: mean}, mean, deviation, low, high, "")


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("kid_lenet", "KID (lenet)"),
        ("fid_lenet_mnist", "FID (lenet_mnist)"),
        ("precision_inception", "precision (inception)"),
        ("recall_lenet_mnist", "recall (lenet_mnist)"),
        ("noise_mae", "noise MAE"),
        ("image_mae", "image MAE"),
        ("kid", "KID"),
    ],
)
def test_metrics_are_named_as_in_papers(metric, name):
    assert metric_name(metric) == name


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0523, "0.0523 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (100800, "1 d 04 h"),
    ],
)
def test_durations_are_in_two_units_and_never_show_sixty(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(970, "970"), (12345, "12.3 k"), (999_949, "1.00 M"), (1.5e6, "1.50 M"), (2e9, "2.00 G")]
)
def test_counts_have_three_digits_and_a_unit(count, text):
    assert magnitude(count) == text


@pytest.mark.parametrize(("value", "text"), [(812.3, "812"), (0.01234, "0.0123"), (5, "5.00"), (-0.5, "-0.500")])
def test_three_significant_digits(value, text):
    assert significant(value) == text


def test_a_column_has_the_same_decimals_throughout():
    values, intervals = zip(
        *estimate_texts([estimate(0.0312, 0.002, 0.03, 0.04), estimate(12.3, 1, 11, 13)]), strict=True
    )
    assert values == ("0.031 ± 0.002", "12.300 ± 1.000")
    assert intervals == ("[0.030, 0.040]", "[11.000, 13.000]")


def test_a_value_next_to_zero_does_not_blow_up_the_others():
    assert decimals([1e-9, 5.0]) == 4
    assert decimals([0.0]) == 0


def test_what_is_not_known_is_left_out():
    assert estimate_texts([estimate(1.0), None, estimate(NAN), estimate(math.inf)]) == [
        ("1.00", ""),
        (MISSING, ""),
        (MISSING, ""),
        (MISSING, ""),
    ]
    assert cost_text("wall_seconds", None) == MISSING
    assert cost_text("parameters", NAN) == MISSING


def test_effects_show_their_sign_and_share_decimals():
    small = Effect("kid_lenet", "schedule", "a", "b", -0.0123, NAN, NAN, 1, 2)
    large = Effect("fid_lenet", "schedule", "a", "b", 12.3, -1.0, 25.0, 3, 2)
    unknown = Effect("fid_lenet", "schedule", "a", "c", NAN, NAN, NAN, 0, 0)
    assert effect_texts([small, large, unknown]) == ["-0.0123", "+12.3 [-1.0, +25.0]", MISSING]


def test_known_costs_come_first_and_unknown_ones_are_kept():
    rows = [Row({}, [], {}, {}, {"energy": 1.0, "wall_seconds": 2.0}), Row({}, [], {}, {}, {"parameters": 3.0})]
    assert cost_columns(rows) == ["parameters", "wall_seconds", "energy"]
