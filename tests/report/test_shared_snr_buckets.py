"""Errors of runs whose schedules reach different noise levels."""

import math

import pytest

from ddpm_lightning.report.build_table import build_table
from ddpm_lightning.report.shared_snr_buckets import on_common_levels
from ddpm_lightning.training.diagnostics import bucket_names

ALL = bucket_names()
BY_LEVEL = dict(zip(ALL, [0.02, 0.04, 0.1, 0.3, 0.6, 0.8], strict=True))


@pytest.fixture
def make(make_run):
    """`make("cosine", 0, buckets)`: a run that reaches these buckets; every run has the same error in each."""

    def run(schedule, seed, buckets, factor=1.0, overall=None):
        errors = {bucket: factor * BY_LEVEL[bucket] for bucket in buckets}
        diagnostics = {"loss": 1.0}
        for name in ("noise_mae", "image_mae"):
            diagnostics[name] = sum(errors.values()) / len(errors) if overall is None else overall
            diagnostics |= {f"{name}/{bucket}": value for bucket, value in errors.items()}
        return make_run({"schedule": schedule}, seed, diagnostics=diagnostics)

    return run


def errors_in(table, metric="noise_mae"):
    return {row.configuration["schedule"]: row.estimates[metric].mean for row in table.rows}


def test_equal_denoisers_have_equal_errors_on_any_schedule(make):
    runs = [make(name, seed, buckets) for name, buckets in (("c", ALL), ("r", ALL[1:3])) for seed in (0, 1)]
    assert runs[0].diagnostics["noise_mae"] != pytest.approx(runs[2].diagnostics["noise_mae"], rel=0.5)
    table = build_table(runs)
    for metric in ("noise_mae", "image_mae"):
        assert errors_in(table, metric) == pytest.approx({"c": 0.07, "r": 0.07})
        assert f"{metric} is the mean over the log SNRs that all runs have: -6 to 0." in table.notes
        (effect,) = (effect for effect in table.effects if effect.metric == metric)
        assert effect.mean == pytest.approx(0)


def test_buckets_count_alike_and_need_no_note_where_all_are_there(make):
    table = build_table([make("a", 0, ALL, overall=0.5), make("b", 0, ALL, factor=2, overall=0.5)])
    mean = sum(BY_LEVEL.values()) / 6
    assert errors_in(table) == pytest.approx({"a": mean, "b": 2 * mean})
    assert not [note for note in table.notes if "log SNR" in note]


def test_levels_with_a_gap_between_them_are_told(make):
    _, notes = on_common_levels([make("a", 0, [ALL[0], ALL[2], ALL[3]]), make("b", 0, ALL)])
    assert notes[0].endswith(": -9 to -6, -3 to 3.")


def test_without_a_common_level_the_error_is_left_out(make):
    runs = [make("high", 0, ALL[3:]), make("low", 0, ALL[:3])]
    table = build_table(runs)
    assert table.metrics == ["kid_lenet_mnist"]
    told = [note.split(":")[0] for note in table.notes if "no bucket of log SNR in common" in note]
    assert told == ["noise_mae is left out", "image_mae is left out"]
    with pytest.raises(ValueError, match="unknown metric 'noise_mae': these runs have kid; noise_mae is left out: "):
        build_table(runs, metric="noise_mae")


def test_runs_without_buckets_keep_their_errors(make_run):
    runs = [make_run({"schedule": name}, 0, diagnostics={"noise_mae": mae}) for name, mae in (("a", 0.1), ("b", 0.2))]
    assert on_common_levels(runs) == (runs, [])
    assert errors_in(build_table(runs)) == {"a": 0.1, "b": 0.2}


def test_a_run_with_buckets_does_not_compare_with_one_without(make, make_run):
    table = build_table([make("a", 0, ALL), make_run({"schedule": "b"}, 0, diagnostics={"noise_mae": 0.1})])
    assert "noise_mae" not in table.metrics


def test_a_run_that_broke_down_takes_no_level_from_the_others(make):
    table = build_table([make("a", 0, ALL), make("b", 0, ALL[:4]), make("broken", 0, ALL[5:], overall=math.nan)])
    errors = errors_in(table)
    assert errors["a"] == errors["b"] == pytest.approx(0.115)
    assert math.isnan(errors["broken"])
