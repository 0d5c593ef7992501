import re
from dataclasses import replace
from typing import Any

import pytest

from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.report.build_table import build_table
from ddpm_lightning.report.comparable import check_comparable


@pytest.mark.parametrize(
    ("field", "values", "advice"),
    [
        ("split", ("test", "val"), "the same split"),
        ("dataset", ("mnist", "fashion_mnist"), "each data set separately"),
        ("features", ("lenet_mnist", "inception"), "each kind of features separately"),
        ("features_sha256", ("a", "b"), "feature weights"),
        ("resize", ("none", "bilinear"), "version of the features"),
        ("num_generated", (1000, 500), "metrics.num_samples"),
        ("num_real", (1000, 500), "metrics.num_real"),
        ("real_images", ("01ab", "23cd"), "the images differ in size, in the split or its seed, or in the files"),
    ],
)
def test_some_differences_are_never_comparable(make_run, field, values, advice):
    runs = [make_run({field: str(value)}, seed, **{field: value}) for value in values for seed in (0, 1)]
    everything = [field, "sampler", "grid", "guidance", "weights", "experiment", "loss_on", "predict", "schedule"]
    with pytest.raises(ValueError, match=re.escape(advice)) as caught:
        check_comparable(runs, everything)
    said = f"{field} is {values[0]!r} in 2 runs (run1, run2) and {values[1]!r} in 2 runs (run3, run4)"
    assert said in str(caught.value)


def test_a_difference_in_any_field_gives_advice(make_run, card):
    """Runs that differ in any single value raise a ValueError with advice, not a KeyError."""
    for name in card.flat():
        other = MetricCard.from_dict(_changed(card.to_dict(), name.split("."), "another"))
        with pytest.raises(ValueError, match=f"cannot be compared: {re.escape(name)} is .*; .{{20}}"):
            check_comparable([make_run({}, 0), replace(make_run({}, 0), card=other)], [])


def _changed(content: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    first, *below = path
    if first == "weights":
        value = "raw"
    return {**content, first: _changed(content[first], below, value) if below else value}


DDIM = {"name": "ddim", "steps": 25, "grid": {"name": "uniform"}, "t_max": 0.98, "clip": True, "eta": 0.0}
KARRAS = {**DDIM, "grid": {"name": "karras", "rho": 7.0}}
SAMPLER = ["sampler", "sampler.steps", "grid", "grid.rho", "experiment"]
PREDICTS = ["loss_on", "loss_on.t_max", "predict"]
EVERYTHING = {*SAMPLER, *PREDICTS, "guidance", "guidance.scale", "weights", "model", "model.num_classes",
              "metrics.labels", "schedule.num_steps", "weighting", "optimizer.lr"}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "values", "named", "explaining"),
    [
        ("sampler", (DDIM, {**DDIM, "name": "ddpm"}), "sampler.name", SAMPLER),
        ("sampler", (DDIM, {**DDIM, "steps": 50}), "sampler.steps", SAMPLER),
        ("sampler", (DDIM, {**DDIM, "clip": False}), "sampler.clip", SAMPLER),
        ("sampler", (DDIM, {k: v for k, v in DDIM.items() if k != "eta"}), "sampler.eta", SAMPLER),
        ("sampler", (DDIM, KARRAS), "sampler.grid.name", SAMPLER),
        ("sampler", (KARRAS, {**DDIM, "grid": {"name": "karras", "rho": 3.0}}), "sampler.grid.rho", SAMPLER),
        ("sampler", (DDIM, {**DDIM, "order": 3}), "sampler.order", SAMPLER),  # an option that no sampler has yet
        ("sampler", (DDIM, {**DDIM, "t_max": 0.999}), "sampler.t_max",
         ["sampler", "sampler.steps", *PREDICTS, "experiment"]),
        ("guidance", ({"name": "none"}, {"name": "classifier_free", "scale": 2.0}), "guidance.name",
         ["guidance", "guidance.scale", "experiment"]),
        ("guidance", ({"name": "own", "order": 1}, {"name": "own", "order": 2}), "guidance.order",
         ["guidance", "guidance.scale", "experiment"]),
        ("nfe", (25, 50), "nfe", [*SAMPLER, "guidance", "guidance.scale"]),
        ("labels", (None, "uniform"), "labels",
         ["model", "model.num_classes", "guidance", "guidance.scale", "metrics.labels", "experiment"]),
        ("weights", ("ema", "raw"), "weights", ["weights"]),
    ],
)  # fmt: skip
def test_factors_explain_differences_of_the_card(make_run, field, values, named, explaining):
    runs = [make_run({}, 0, **{field: value}) for value in values]
    for factor in explaining:
        check_comparable(runs, ["schedule", factor])
    with pytest.raises(ValueError, match=f"these runs cannot be compared: {re.escape(named)} is .* by="):
        check_comparable(runs, sorted(EVERYTHING - set(explaining)))


def test_a_custom_sampler_is_comparable(make_run):
    """Options of any name, nested ones too, count as the sampler's."""
    own = {"name": "own", "steps": 8, "order": 2, "corrector": {"name": "langevin", "snr": 0.16}}
    runs = [
        make_run({"sampler": "ddim"}, 0),
        make_run({"sampler": "own"}, 0, sampler=own, nfe=16),
        make_run({"sampler": "own"}, 0, sampler={**own, "corrector": {"name": "langevin", "snr": 0.2}}, nfe=16),
    ]
    check_comparable(runs, ["sampler"])
    check_comparable(runs, ["sampler.corrector.snr"])
    with pytest.raises(ValueError, match=r"sampler\.name is 'ddim' in 1 run \(run1\) and 'own' in 2 runs"):
        check_comparable(runs, ["schedule"])
    with pytest.raises(ValueError, match=r"sampler\.corrector\.snr is 0\.16 in 1 run \(run2\) and 0\.2 in 1 run"):
        check_comparable(runs[1:], ["schedule"])


def test_runs_of_one_seed_must_share_the_metrics_seed(make_run):
    runs = [make_run({"schedule": "linear"}, 0), make_run({"schedule": "cosine"}, 0, metrics_seed=5)]
    with pytest.raises(
        ValueError, match=r"among those with seed=0, metrics.seed is 0 in 1 run \(run1\) and 5 in 1 run"
    ):
        check_comparable(runs, ["schedule"])


def test_runs_of_one_seed_must_share_the_real_images(make_run):
    runs = [make_run({"schedule": "linear"}, 0), make_run({"schedule": "cosine"}, 0, real_seed=5)]
    with pytest.raises(ValueError, match=r"metrics.real_seed is 0 in 1 run \(run1\) and 5 in 1 run"):
        check_comparable(runs, ["schedule"])


def test_metrics_seed_may_follow_the_seed_or_be_constant(make_run):
    check_comparable([make_run({}, seed) for seed in range(3)], [])
    check_comparable([make_run({}, seed, metrics_seed=7) for seed in range(3)], [])


@pytest.mark.parametrize("name", ["init", "order", "noise", "samples"])
def test_a_sweep_over_one_of_the_four_seeds_is_comparable(make_run, name):
    runs = [
        make_run({f"seeds.{name}": str(value)}, 0, metrics_seed=value if name == "samples" else 0, seeds={name: value})
        for value in range(3)
    ]
    check_comparable(runs, [f"seeds.{name}"])
    build_table(runs)


def test_build_table_checks_comparability(make_run):
    with pytest.raises(ValueError, match="cannot be compared: split"):
        build_table([make_run({}, 0), make_run({}, 1, split="val")])
