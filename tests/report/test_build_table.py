import math

import numpy as np
import pytest

from ddpm_lightning.report.build_table import build_table
from ddpm_lightning.report.table import Verdict

KID = "kid_lenet_mnist"


@pytest.fixture
def crossed(make_run):
    """schedule x model on three seeds; cosine lowers KID by 0.3, the model has no effect."""
    noise = np.random.default_rng(0).normal(0, 0.01, 12)
    return [
        make_run({"schedule": schedule, "model": model, "loss": "mse"}, seed, base + noise[3 * i + seed])
        for i, (schedule, model, base) in enumerate(
            [("linear", "small", 0.5), ("linear", "large", 0.5), ("cosine", "small", 0.2), ("cosine", "large", 0.2)]
        )
        for seed in range(3)
    ]


def configurations(table):
    return [tuple(row.configuration.values()) for row in table.rows]


def test_rows_are_configurations_best_first(crossed):
    table = build_table(crossed)
    assert table.factors == ["schedule", "model"]
    assert {row.configuration["schedule"] for row in table.rows[:2]} == {"cosine"}
    means = [row.estimates[KID].mean for row in table.rows]
    assert means == sorted(means)
    for row in table.rows:
        mine = [run for run in crossed if row.configuration.items() <= run.options.items()]
        assert row.runs == mine
        assert row.estimates[KID].values == {run.seed: run.values[KID] for run in mine}
        assert row.estimates[KID].deviation == pytest.approx(np.std([run.values[KID] for run in mine], ddof=1))


def test_verdicts_and_effects_of_a_known_sweep(crossed):
    table = build_table(crossed)
    assert [row.verdicts[KID] for row in table.rows] == [Verdict.TIE, Verdict.TIE, Verdict.WORSE, Verdict.WORSE]
    schedule, model = table.effects
    assert (schedule.factor, schedule.baseline, schedule.choice) == ("schedule", "linear", "cosine")
    assert schedule.low < -0.3 < schedule.high < 0
    assert (model.factor, model.baseline, model.choice) == ("model", "small", "large")
    assert model.low < 0 < model.high
    assert schedule.num_pairs == model.num_pairs == 6
    assert not any("change together" in note for note in table.notes)


def test_a_missing_option_is_a_choice(make_run):
    table = build_table([make_run({}, 0, 0.2), make_run({"optimizer.lr": "0.01"}, 0, 0.1)])
    assert configurations(table) == [("0.01",), ("-",)]
    assert (table.effects[0].baseline, table.effects[0].choice) == ("-", "0.01")


def test_one_configuration_has_no_factors_and_no_verdict(make_run):
    table = build_table([make_run({"schedule": "linear"}, seed, 0.1 + seed) for seed in range(3)])
    assert (table.factors, table.effects, len(table.rows)) == ([], [], 1)
    assert table.rows[0].verdicts == {KID: Verdict.UNKNOWN}


def test_by_chooses_the_columns_and_notes_the_others(make_run):
    runs = [make_run({"a": str(seed), "b": b}, seed, 0.1) for b in "xy" for seed in range(2)]
    table = build_table(runs, by=["b"])
    assert table.factors == ["b"]
    assert any("also differ in a" in note for note in table.notes)


def test_an_unknown_option_is_an_error_naming_the_known(crossed):
    with pytest.raises(ValueError, match="no run has the option shedule .*schedule, model, loss"):
        build_table(crossed, by=["shedule"])


def test_runs_that_by_does_not_distinguish_are_an_error(crossed):
    with pytest.raises(
        ValueError, match="2 runs of schedule=linear have seed=0: run1, run4; they differ in model: add the options"
    ):
        build_table(crossed, by=["schedule"])


def test_duplicate_runs_are_an_error(make_run):
    with pytest.raises(ValueError, match="run1, run2; they have the same options"):
        build_table([make_run({"a": "1"}, 0), make_run({"a": "1"}, 0)])


def test_no_runs_are_an_error():
    with pytest.raises(ValueError, match="no finished runs"):
        build_table([])


def test_the_chosen_metric_comes_first_and_sorts(make_run):
    def run(name, kid, fid, mae):
        values = {KID: kid, "fid_lenet_mnist": fid, "kid_lenet_mnist_subsets_mean": kid}
        return make_run({"a": name}, 0, values=values, diagnostics={"noise_mae": mae, "loss": 1.0})

    runs = [run("x", 0.1, 3.0, 0.3), run("y", 0.2, 2.0, 0.1), run("z", 0.3, 1.0, 0.2)]
    assert build_table(runs).metrics == [KID, "fid_lenet_mnist", "noise_mae"]
    assert configurations(build_table(runs)) == [("x",), ("y",), ("z",)]
    by_fid = build_table(runs, metric="fid")
    assert by_fid.metrics == ["fid_lenet_mnist", KID, "noise_mae"]
    assert configurations(by_fid) == [("z",), ("y",), ("x",)]
    assert configurations(build_table(runs, metric="noise_mae")) == [("y",), ("z",), ("x",)]
    assert configurations(build_table(runs, metric="fid_lenet_mnist")) == configurations(by_fid)
    assert [effect.metric for effect in by_fid.effects] == [name for name in by_fid.metrics for _ in "yz"]
    for unknown in ("image_mae", "loss", "kdi"):
        with pytest.raises(ValueError, match=f"unknown metric '{unknown}': these runs have kid, fid, noise_mae"):
            build_table(runs, metric=unknown)


@pytest.mark.parametrize("score", ["precision", "recall"])
def test_the_best_precision_or_recall_is_the_highest(make_run, score):
    name = f"{score}_lenet_mnist"
    noise = np.random.default_rng(0).normal(0, 0.01, 9)
    runs = [
        make_run({"a": choice}, seed, values={name: base + noise[3 * i + seed], KID: base})
        for i, (choice, base) in enumerate([("low", 0.2), ("high", 0.8), ("middle", 0.5)])
        for seed in range(3)
    ]
    runs += [make_run({"a": "broken"}, seed, values={name: math.nan, KID: 0.9}) for seed in range(3)]
    table = build_table(runs, metric=score)
    assert table.metrics == [name, KID]
    assert configurations(table) == [("high",), ("middle",), ("low",), ("broken",)]
    verdicts = [row.verdicts[name] for row in table.rows]
    assert verdicts == [Verdict.BEST, Verdict.WORSE, Verdict.WORSE, Verdict.UNKNOWN]
    assert table.rows[0].estimates[name].mean == pytest.approx(0.8, abs=0.02)
    (gain,) = (effect for effect in table.effects if (effect.metric, effect.choice) == (name, "high"))
    assert gain.baseline == "low"
    assert 0 < gain.low < 0.6 < gain.high
    assert configurations(build_table(runs)) == [("low",), ("middle",), ("high",), ("broken",)]


def test_a_score_that_is_nan_comes_last_with_a_note(crossed, make_run):
    choices = {"schedule": "sigmoid", "model": "small"}
    broken = [make_run(choices, seed, kid) for seed, kid in enumerate([0.1, math.nan, 0.1])]
    table = build_table([*broken, *crossed], by=["schedule", "model"])
    assert configurations(table)[-1] == ("sigmoid", "small")
    last = table.rows[-1]
    assert math.isnan(last.estimates[KID].mean) and math.isnan(last.estimates[KID].low)
    assert last.verdicts[KID] == Verdict.UNKNOWN
    assert [row.verdicts[KID] for row in table.rows[:2]] == [Verdict.TIE, Verdict.TIE]
    assert any("schedule=sigmoid, model=small is not a finite number for seed 1" in note for note in table.notes)
    assert all(math.isfinite(effect.mean) for effect in table.effects)


def test_a_configuration_without_a_score_is_not_compared(crossed, make_run):
    bare = [make_run({"schedule": "sigmoid", "model": "small"}, seed, values={}) for seed in range(3)]
    table = build_table([*crossed, *bare], by=["schedule", "model"])
    assert table.rows[-1].estimates[KID].values == {}
    assert table.rows[0].verdicts[KID] == Verdict.TIE
    assert table.rows[2].verdicts[KID] == Verdict.WORSE


def test_configurations_are_compared_on_common_seeds(make_run):
    a = [make_run({"a": "x"}, seed, kid) for seed, kid in enumerate([0.10, 0.11, 0.12, 9.0])]
    b = [make_run({"a": "y"}, seed, kid) for seed, kid in enumerate([0.50, 0.51, 0.53])]
    table = build_table([*a, *b])
    # Seed 3 alone makes x's mean over all its seeds the higher one.
    assert {row.configuration["a"]: row.verdicts[KID] for row in table.rows} == {"x": Verdict.BEST, "y": Verdict.WORSE}
    assert any("on the seeds that all configurations have (0, 1, 2), without 3" in note for note in table.notes)


def test_one_common_seed_does_not_allow_a_comparison(make_run):
    runs = [make_run({"a": "x"}, 0, 0.1), make_run({"a": "y"}, 0, 0.9), make_run({"a": "y"}, 1, 0.9)]
    table = build_table(runs)
    assert [row.verdicts[KID] for row in table.rows] == [Verdict.UNKNOWN] * 2
    assert any("takes two seeds" in note for note in table.notes)


def test_factors_that_change_together_are_noted(make_run):
    runs = [make_run({"experiment": e, "schedule": s}, 0) for e, s in (("a", "linear"), ("b", "cosine"))]
    table = build_table(runs)
    assert table.factors == ["experiment", "schedule"]
    assert any("experiment and schedule always change together" in note for note in table.notes)
    assert [effect.factor for effect in table.effects] == ["experiment + schedule"]


def test_cost_is_the_mean_over_runs_that_measured_it(make_run):
    runs = [
        make_run({}, 0, cost={"wall_seconds": 10.0, "parameters": 5.0}),
        make_run({}, 1, cost={"wall_seconds": 20.0}),
        make_run({}, 2),
    ]
    assert build_table(runs).rows[0].cost == {"wall_seconds": 15, "parameters": 5}


def test_cards_differ_by_more_than_their_seeds(make_run):
    runs = [make_run({"sampler.steps": str(steps)}, seed, nfe=steps) for steps in (25, 50) for seed in range(3)]
    table = build_table(runs)
    assert table.cards == [runs[0].card, runs[3].card]
