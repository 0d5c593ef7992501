import re

import pytest

from ddpm_lightning.sweep.build_table import build_table
from ddpm_lightning.sweep.comparable import check_comparable


@pytest.mark.parametrize(
    ("field", "values", "mend"),
    [
        ("split", ("test", "val"), "the same split"),
        ("dataset", ("mnist", "fashion_mnist"), "each data set by itself"),
        ("features", ("lenet_mnist", "inception"), "each kind of features by itself"),
        ("features_sha256", ("a", "b"), "weights of the features"),
        ("resize", ("none", "bilinear"), "version of the features"),
        ("num_generated", (1000, 500), "metrics.num_samples"),
        ("num_real", (1000, 500), "metrics.num_real"),
        ("real_images", ("01ab", "23cd"), "the images differ in size, in the split or its seed, or in the files"),
    ],
)
def test_what_may_never_differ(make_run, field, values, mend):
    runs = [make_run({field: str(value)}, seed, **{field: value}) for value in values for seed in (0, 1)]
    # Not even where it is what is studied.
    with pytest.raises(ValueError, match=re.escape(mend)) as caught:
        check_comparable(runs, [field, "sampler", "guidance", "weights", "experiment", "loss_on", "schedule"])
    said = f"{field} is {values[0]!r} in 2 runs (run1, run2) and {values[1]!r} in 2 runs (run3, run4)"
    assert said in str(caught.value)


SAMPLER = ["sampler", "sampler.steps", "experiment"]


@pytest.mark.parametrize(
    ("field", "values", "explaining"),
    [
        ("sampler", ("ddim", "ddpm"), SAMPLER),
        ("steps", (25, 50), SAMPLER),
        ("eta", (0.0, None), SAMPLER),
        ("clip", (True, False), SAMPLER),
        ("t_max", (0.98, 0.999), [*SAMPLER, "loss_on", "schedule.num_steps"]),
        ("guidance_scale", (None, 2.0), ["guidance", "guidance.scale", "experiment"]),
        ("weights", ("ema", "raw"), ["weights"]),
    ],
)
def test_what_may_differ_if_it_is_studied(make_run, field, values, explaining):
    runs = [make_run({}, 0, **{field: value}) for value in values]
    for factor in explaining:
        check_comparable(runs, ["model", factor])
    everything = {
        *SAMPLER,
        "loss_on",
        "schedule.num_steps",
        "guidance",
        "guidance.scale",
        "weights",
        "weighting",
        "model",
    }
    with pytest.raises(ValueError, match=f"these runs cannot be compared: {field} is .* by="):
        check_comparable(runs, sorted(everything - set(explaining)))


def test_runs_of_one_seed_must_share_the_metrics_seed(make_run):
    runs = [make_run({"schedule": "linear"}, 0), make_run({"schedule": "cosine"}, 0, metrics_seed=5)]
    with pytest.raises(ValueError, match=r"among those of seed=0, metrics.seed is 0 in 1 run \(run1\) and 5 in 1 run"):
        check_comparable(runs, ["schedule"])


def test_metrics_seed_may_follow_the_seed_or_be_one_for_all(make_run):
    check_comparable([make_run({}, seed) for seed in range(3)], [])
    check_comparable([make_run({}, seed, metrics_seed=7) for seed in range(3)], [])


def test_a_table_refuses_too(make_run):
    with pytest.raises(ValueError, match="cannot be compared: split"):
        build_table([make_run({}, 0), make_run({}, 1, split="val")])
