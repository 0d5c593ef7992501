"""Likelihoods in a report: their intervals over images, what compares, and what is said about them."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddpm_lightning.metrics.cards import read_card
from ddpm_lightning.metrics.likelihood.card import LikelihoodCard
from ddpm_lightning.metrics.likelihood.images import mean_of_images
from ddpm_lightning.report.build_table import build_table
from ddpm_lightning.report.comparable import check_comparable
from ddpm_lightning.report.finished_run import FinishedRun
from ddpm_lightning.report.rendering.sentences import card_line
from ddpm_lightning.report.rendering.write_report import write_report
from ddpm_lightning.report.statistics import interval_over_seeds

BOUND = "bits_per_dim_bound"
CARD = LikelihoodCard(
    num_images=30,
    seed=0,
    real_seed=0,
    seeds={"init": 0},
    labels=None,
    bound={"name": "variational bound", "kind": "upper bound", "num_steps": 1000, "clip": True, "v": 0.0},
    ode={
        "name": "probability-flow ODE",
        "kind": "exact for dequantized images",
        "steps": 100,
        "t_min": 1e-3,
        "t_max": 1,
    },
    weights="ema",
    split="test",
    dataset="mnist",
    real_images="0123456789abcdef",
)


def made(folder: Path, seed: int, shift: float = 0.0, first: int = 0, **options: str) -> FinishedRun:
    """A run whose images have the indices from `first` on, and the same likelihood in every run, but for noise."""
    folder = folder / "-".join([*options.values(), str(seed)])
    folder.mkdir(parents=True)
    indices = np.arange(first, first + CARD.num_images)
    of_images = np.random.default_rng(0).normal(3, 0.5, 200)[indices]
    bits = of_images + shift + np.random.default_rng(seed).normal(0, 0.05, len(indices))
    np.savez(folder / "likelihood.npz", image_indices=indices, **{BOUND: bits})
    card = replace(CARD, seed=seed, real_seed=seed)
    return FinishedRun(folder, options, seed, {BOUND: float(bits.mean())}, card, {}, {})


def test_the_interval_of_one_seed_is_that_over_its_images(tmp_path):
    run = made(tmp_path, 0)
    estimate = build_table([run]).rows[0].estimates[BOUND]
    mean = mean_of_images(run.load_likelihoods(BOUND)[0])
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx(mean)
    assert estimate.covers == "images"


def test_the_interval_over_seeds_has_the_error_that_common_images_share(tmp_path):
    common = [made(tmp_path, seed) for seed in range(4)]
    estimate = build_table(common).rows[0].estimates[BOUND]
    influences = [run.load_likelihoods(BOUND)[0] - run.values[BOUND] for run in common]
    pairs = [float(a @ b) / (30 * 29) for i, a in enumerate(influences) for b in influences[:i]]
    expected = interval_over_seeds([run.values[BOUND] for run in common], float(np.mean(pairs)))
    assert (estimate.low, estimate.high) == pytest.approx(expected)
    assert estimate.covers == "seeds and images"
    own = [made(tmp_path / "own", seed, first=30 * seed) for seed in range(4)]
    estimate = build_table(own).rows[0].estimates[BOUND]
    assert (estimate.low, estimate.high) == pytest.approx(interval_over_seeds([run.values[BOUND] for run in own]))


def test_without_the_values_of_images_it_covers_seeds(tmp_path):
    runs = [made(tmp_path, seed) for seed in range(3)]
    (runs[0].folder / "likelihood.npz").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="likelihood.npz cannot be used"):
        assert build_table(runs).rows[0].estimates[BOUND].covers == "seeds"
    (runs[0].folder / "likelihood.npz").unlink()
    assert build_table(runs).rows[0].estimates[BOUND].covers == "seeds"


def test_a_report_has_a_column_in_which_lower_is_better(tmp_path):
    runs = [
        made(tmp_path, seed, shift, schedule=name) for name, shift in (("a", 1.0), ("b", 0.0)) for seed in (0, 1, 2)
    ]
    table = build_table(runs)
    assert table.metrics == [BOUND]
    assert [row.configuration["schedule"] for row in table.rows] == ["b", "a"]
    write_report(table, tmp_path / "report", "title", "command")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "bits/dim (bound)" in text and "Lower is better" in text
    assert "Intervals of bits/dim (bound) cover seeds and images." in text
    assert "schedule=b is significantly lower than every other configuration" in text


def test_a_card_line_has_every_setting():
    line = card_line(CARD)
    assert line.startswith("30 images, test split of mnist; variational bound (kind upper bound, num_steps 1000, ")
    assert (
        line.endswith("; ema weights") and "probability-flow ODE (kind exact for dequantized images, steps 100" in line
    )
    assert "labels own" in card_line(replace(CARD, labels="own"))
    assert "ODE" not in card_line(replace(CARD, ode=None))


def changed(content: dict[str, Any], name: str) -> dict[str, Any]:
    first, _, below = name.partition(".")
    return {**content, first: changed(content[first], below) if below else "another"}


def test_a_difference_in_any_field_gives_advice(tmp_path):
    run = made(tmp_path, 0)
    for name in CARD.flat():
        other = replace(run, card=read_card(changed(run.card.to_dict(), name)))
        with pytest.raises(ValueError, match=f"cannot be compared: {re.escape(name)} is .*; .{{20}}"):
            check_comparable([run, other], [])


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("bound.num_steps", "metrics.bound.num_steps"),
        ("bound.num_steps", "schedule"),
        ("bound.v", "variance"),
        ("ode.t_max", "predict"),
        ("ode.steps", "metrics.ode.steps"),
    ],
)
def test_a_difference_that_a_factor_explains_is_no_obstacle(tmp_path, name, factor):
    run = made(tmp_path, 0)
    other = replace(run, card=read_card(changed(run.card.to_dict(), name)))
    check_comparable([run, other], [factor])
    with pytest.raises(ValueError, match="cannot be compared"):
        check_comparable([run, other], ["optimizer.lr"])


def test_likelihoods_and_scores_of_samples_are_reported_apart(tmp_path, make_run):
    with pytest.raises(
        ValueError, match="some have likelihoods and some have scores of samples .* each kind separately"
    ):
        check_comparable([made(tmp_path, 0), make_run({}, 0)], ["schedule"])


def test_the_arrays_are_of_double_precision(tmp_path):
    bits, indices = made(tmp_path, 0).load_likelihoods(BOUND)
    assert bits.dtype == torch.float64 and indices.tolist() == list(range(30))
