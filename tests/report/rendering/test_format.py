import math

import pytest

from ddpm_lightning.report.rendering.format import (
    MISSING,
    cost_columns,
    cost_text,
    effect_texts,
    estimate_texts,
    metric_name,
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
def test_metrics_have_the_names_of_papers(metric, name):
    assert metric_name(metric) == name


def test_a_column_has_the_same_decimals_throughout():
    values, intervals = zip(
        *estimate_texts([estimate(0.0312, 0.002, 0.03, 0.04), estimate(12.3, 1, 11, 13)]), strict=True
    )
    assert values == ("0.031 ± 0.002", "12.300 ± 1.000")
    assert intervals == ("[0.030, 0.040]", "[11.000, 13.000]")


def test_unknown_values_are_left_out():
    assert estimate_texts([estimate(1.0), estimate(NAN), estimate(math.inf)]) == [
        ("1.00", ""),
        (MISSING, ""),
        (MISSING, ""),
    ]
    assert cost_text("wall_seconds", None) == MISSING
    assert cost_text("parameters", NAN) == MISSING


def test_effects_show_their_sign_and_share_decimals():
    small = Effect("kid_lenet", "schedule", "a", "b", -0.0123, NAN, NAN, 1, 2)
    large = Effect("fid_lenet", "schedule", "a", "b", 12.3, -1.0, 25.0, 3, 2)
    assert effect_texts([small, large]) == ["-0.0123", "+12.3 [-1.0, +25.0]"]


def test_costs_with_headings_come_first():
    rows = [Row({}, [], {}, {}, {"energy": 1.0, "wall_seconds": 2.0}), Row({}, [], {}, {}, {"parameters": 3.0})]
    assert cost_columns(rows) == ["parameters", "wall_seconds", "energy"]
