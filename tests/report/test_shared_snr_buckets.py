"""Errors of runs whose schedules cover different noise levels."""

import math

import pytest

from ddpm_lightning.report.build_table import build_table
from ddpm_lightning.report.shared_snr_buckets import average_over_shared_buckets
from ddpm_lightning.training.diagnostics import bucket_names

ALL = bucket_names()
BY_LEVEL = dict(zip(ALL, [0.02, 0.04, 0.1, 0.3, 0.6, 0.8], strict=True))


@pytest.fixture
def make(make_run):
    """`make("cosine", 0, buckets)`: a run that covers these buckets; all runs have the same error in a bucket."""

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
        assert f"{metric} is averaged over the log SNRs that all runs share: -6 to 0." in table.notes
        (effect,) = (effect for effect in table.effects if effect.metric == metric)
        assert effect.mean == pytest.approx(0)


def test_all_buckets_have_equal_weight_and_need_no_note(make):
    table = build_table([make("a", 0, ALL, overall=0.5), make("b", 0, ALL, factor=2, overall=0.5)])
    mean = sum(BY_LEVEL.values()) / 6
    assert errors_in(table) == pytest.approx({"a": mean, "b": 2 * mean})
    assert not [note for note in table.notes if "log SNR" in note]


def test_the_note_names_separate_ranges(make):
    _, notes = average_over_shared_buckets([make("a", 0, [ALL[0], ALL[2], ALL[3]]), make("b", 0, ALL)])
    assert notes[0].endswith(": -9 to -6, -3 to 3.")


def test_an_error_without_a_shared_bucket_is_left_out(make):
    runs = [make("high", 0, ALL[3:]), make("low", 0, ALL[:3])]
    table = build_table(runs)
    assert table.metrics == ["kid_lenet_mnist"]
    left_out = [note.split(":")[0] for note in table.notes if "share no log-SNR bucket" in note]
    assert left_out == ["noise_mae is left out", "image_mae is left out"]
    with pytest.raises(ValueError, match="unknown metric 'noise_mae': these runs have kid; noise_mae is left out: "):
        build_table(runs, metric="noise_mae")


def test_runs_without_buckets_keep_their_errors(make_run):
    runs = [make_run({"schedule": name}, 0, diagnostics={"noise_mae": mae}) for name, mae in (("a", 0.1), ("b", 0.2))]
    assert average_over_shared_buckets(runs) == (runs, [])
    assert errors_in(build_table(runs)) == {"a": 0.1, "b": 0.2}


def test_runs_with_and_without_buckets_are_not_comparable(make, make_run):
    table = build_table([make("a", 0, ALL), make_run({"schedule": "b"}, 0, diagnostics={"noise_mae": 0.1})])
    assert "noise_mae" not in table.metrics


def test_buckets_of_a_diverged_run_do_not_count(make):
    table = build_table([make("a", 0, ALL), make("b", 0, ALL[:4]), make("broken", 0, ALL[5:], overall=math.nan)])
    errors = errors_in(table)
    assert errors["a"] == errors["b"] == pytest.approx(0.115)
    assert math.isnan(errors["broken"])
