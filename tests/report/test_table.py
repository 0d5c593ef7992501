import math
from itertools import combinations

import numpy as np
import pytest

from ddpm_lightning.metrics.jackknife import kernel_jackknife, shared_covariance
from ddpm_lightning.report.build_table import build_table
from ddpm_lightning.report.statistics import interval_of_samples, interval_over_seeds
from ddpm_lightning.report.table import Verdict

KID = "kid_lenet_mnist"


@pytest.fixture
def crossed(make_run):
    """schedule x model on three seeds; cosine has a KID of 0.3 less, the model does nothing."""
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


def test_rows_are_the_options_that_vary_best_first(crossed):
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


def test_a_missing_option_is_a_choice(make_run):
    table = build_table([make_run({}, 0, 0.2), make_run({"optimizer.lr": "0.01"}, 0, 0.1)])
    assert configurations(table) == [("0.01",), ("-",)]
    assert (table.effects[0].baseline, table.effects[0].choice) == ("-", "0.01")


def test_one_configuration_has_no_factors_and_no_verdict(make_run):
    table = build_table([make_run({"schedule": "linear"}, seed, 0.1 + seed) for seed in range(3)])
    assert (table.factors, table.effects, len(table.rows)) == ([], [], 1)
    assert table.rows[0].verdicts == {KID: Verdict.UNKNOWN}


def test_by_chooses_the_columns_and_says_what_it_leaves_out(make_run):
    runs = [make_run({"a": str(seed), "b": b}, seed, 0.1) for b in "xy" for seed in range(2)]
    table = build_table(runs, by=["b"])
    assert table.factors == ["b"]
    assert any("also differ in a" in note for note in table.notes)


def test_an_unknown_option_is_refused_and_the_known_ones_named(crossed):
    with pytest.raises(ValueError, match="no run chose shedule.*schedule, model, loss"):
        build_table(crossed, by=["shedule"])


def test_runs_that_by_leaves_together_are_refused(crossed):
    with pytest.raises(
        ValueError, match="2 runs of schedule=linear have seed=0: run1, run4; they differ in model: add"
    ):
        build_table(crossed, by=["schedule"])


def test_a_run_that_is_there_twice_is_refused(make_run):
    with pytest.raises(ValueError, match="run1, run2; they have the same options"):
        build_table([make_run({"a": "1"}, 0), make_run({"a": "1"}, 0)])


def test_no_runs_are_refused():
    with pytest.raises(ValueError, match="no finished runs"):
        build_table([])


def test_the_metric_asked_for_comes_first_and_sorts(make_run):
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
def test_the_best_share_is_the_highest(make_run, score):
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


def test_the_interval_of_a_share_is_made_as_that_of_fid(make_run):
    shares = [0.7, 0.8, 0.75]
    names = ("precision_lenet_mnist", "recall_lenet_mnist", "fid_lenet_mnist")
    runs = [make_run({}, seed, values=dict.fromkeys(names, share)) for seed, share in enumerate(shares)]
    precision, recall, fid = (build_table(runs, metric="fid").rows[0].estimates[name] for name in names)
    assert (precision.low, precision.high) == interval_over_seeds(shares)
    assert precision == recall == fid
    assert precision.covers == "seeds and generated samples"


def test_a_score_that_is_no_number_comes_last_and_is_noted(crossed, make_run):
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


def test_configurations_are_compared_on_their_common_seeds_alone(make_run):
    a = [make_run({"a": "x"}, seed, kid) for seed, kid in enumerate([0.10, 0.11, 0.12, 9.0])]
    b = [make_run({"a": "y"}, seed, kid) for seed, kid in enumerate([0.50, 0.51, 0.53])]
    table = build_table([*a, *b])
    # Over all its seeds x has the higher mean, by seed 3 alone.
    assert {row.configuration["a"]: row.verdicts[KID] for row in table.rows} == {"x": Verdict.BEST, "y": Verdict.WORSE}
    assert any("on the seeds that all configurations have (0, 1, 2), without 3" in note for note in table.notes)


def test_one_common_seed_is_no_comparison(make_run):
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


def test_cost_is_the_mean_of_what_was_measured(make_run):
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


def test_kid_interval_of_one_seed_is_of_its_samples(make_run_with_features):
    run = make_run_with_features({}, 0)
    estimate = build_table([run]).rows[0].estimates[KID]
    features = run.load_features()
    jackknife = kernel_jackknife(features.real, features.generated)
    assert (estimate.low, estimate.high) == pytest.approx(interval_of_samples(run.values[KID], jackknife.variance))
    assert estimate.low < estimate.mean < estimate.high
    assert math.isnan(estimate.deviation)
    assert estimate.covers == "samples"


def kid_interval(runs, shared_samples):
    features = [run.load_features() for run in runs]
    found = [kernel_jackknife(of.real, of.generated) for of in features]
    everything = np.arange(40)
    covariances = [
        shared_covariance(a.real, of_a.real_indices, b.real, of_b.real_indices)
        + (shared_covariance(a.generated, everything, b.generated, everything) if shared_samples else 0)
        for (a, of_a), (b, of_b) in combinations(zip(found, features, strict=True), 2)
    ]
    return interval_over_seeds([run.values[KID] for run in runs], max(0.0, float(np.mean(covariances))))


@pytest.mark.parametrize("shared_samples", [False, True])
def test_kid_interval_over_seeds_holds_what_they_share(make_run_with_features, shared_samples):
    metrics_seed = 7 if shared_samples else None
    runs = [make_run_with_features({}, s, real_indices=np.arange(50), metrics_seed=metrics_seed) for s in range(4)]
    table = build_table(runs)
    estimate = table.rows[0].estimates[KID]
    assert (estimate.low, estimate.high) == pytest.approx(kid_interval(runs, shared_samples), rel=1e-9)
    assert (estimate.low, estimate.high) != pytest.approx(kid_interval(runs, not shared_samples), rel=1e-9)
    assert estimate.covers == "seeds and samples"
    fid = table.rows[0].estimates["fid_lenet_mnist"]
    assert fid.covers == ("seeds" if shared_samples else "seeds and generated samples")
    assert table.notes == []


def test_without_features_the_interval_is_of_the_seeds(make_run_with_features):
    runs = [make_run_with_features({}, seed) for seed in range(3)]
    (runs[1].folder / "features.npz").unlink()
    table = build_table(runs)
    estimate = table.rows[0].estimates[KID]
    assert (estimate.low, estimate.high) == interval_over_seeds([run.values[KID] for run in runs])
    assert estimate.covers == "seeds and generated samples"
    assert any("kept no features" in note for note in table.notes)
    alone = build_table(runs[1:2]).rows[0].estimates[KID]
    assert math.isnan(alone.low) and alone.covers == "" and alone.mean == runs[1].values[KID]


def test_held_out_errors_cover_seeds(make_run):
    runs = [make_run({}, seed, diagnostics={"noise_mae": 0.1 * seed}) for seed in range(3)]
    assert build_table(runs).rows[0].estimates["noise_mae"].covers == "seeds"


def test_features_of_another_run_are_noticed(make_run_with_features):
    runs = [make_run_with_features({}, seed) for seed in range(2)]
    (runs[1].folder / "features.npz").write_bytes((runs[0].folder / "features.npz").read_bytes())
    with pytest.raises(ValueError, match=r"1: features.npz gives a kid_lenet_mnist of .*files of different runs"):
        build_table(runs)


def test_features_that_cannot_be_read_are_said_to_be(make_run_with_features):
    run = make_run_with_features({}, 0)
    path = run.folder / "features.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="features.npz cannot be used"):
        run.load_features()
    np.savez_compressed(path, features=np.ones((3, 2)))
    with pytest.raises(ValueError, match="real_features is not a file"):
        run.load_features()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        run.load_features()
