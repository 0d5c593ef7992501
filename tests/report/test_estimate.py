import math
from itertools import combinations

import numpy as np
import pytest

from ddpm_lightning.metrics.jackknife import kernel_jackknife, shared_covariance
from ddpm_lightning.report.build_table import build_table
from ddpm_lightning.report.statistics import interval_of_samples, interval_over_seeds

KID = "kid_lenet_mnist"


def test_intervals_of_precision_and_recall_are_like_fids(make_run):
    shares = [0.7, 0.8, 0.75]
    names = ("precision_lenet_mnist", "recall_lenet_mnist", "fid_lenet_mnist")
    runs = [make_run({}, seed, values=dict.fromkeys(names, share)) for seed, share in enumerate(shares)]
    precision, recall, fid = (build_table(runs, metric="fid").rows[0].estimates[name] for name in names)
    assert (precision.low, precision.high) == interval_over_seeds(shares)
    assert precision == recall == fid
    assert precision.covers == "seeds and generated samples"


def test_kid_interval_of_one_seed_covers_its_samples(make_run_with_features):
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
        shared_covariance(a.real_influences, of_a.real_indices, b.real_influences, of_b.real_indices)
        + (
            shared_covariance(a.generated_influences, everything, b.generated_influences, everything)
            if shared_samples
            else 0
        )
        for (a, of_a), (b, of_b) in combinations(zip(found, features, strict=True), 2)
    ]
    return interval_over_seeds([run.values[KID] for run in runs], max(0.0, float(np.mean(covariances))))


@pytest.mark.parametrize("shared_samples", [False, True])
def test_kid_interval_over_seeds_includes_shared_errors(make_run_with_features, shared_samples):
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


def test_kid_interval_without_features_covers_seeds(make_run_with_features):
    runs = [make_run_with_features({}, seed) for seed in range(3)]
    (runs[1].folder / "features.npz").unlink()
    table = build_table(runs)
    estimate = table.rows[0].estimates[KID]
    assert (estimate.low, estimate.high) == interval_over_seeds([run.values[KID] for run in runs])
    assert estimate.covers == "seeds and generated samples"
    assert any("kept no features" in note for note in table.notes)
    alone = build_table(runs[1:2]).rows[0].estimates[KID]
    assert math.isnan(alone.low) and alone.covers == "" and alone.mean == runs[1].values[KID]


def test_intervals_of_held_out_errors_cover_seeds(make_run):
    runs = [make_run({}, seed, diagnostics={"noise_mae": 0.1 * seed}) for seed in range(3)]
    assert build_table(runs).rows[0].estimates["noise_mae"].covers == "seeds"


def test_features_of_another_run_are_an_error(make_run_with_features):
    runs = [make_run_with_features({}, seed) for seed in range(2)]
    (runs[1].folder / "features.npz").write_bytes((runs[0].folder / "features.npz").read_bytes())
    with pytest.raises(ValueError, match=r"1: features.npz gives a kid_lenet_mnist of .*files of different runs"):
        build_table(runs)
