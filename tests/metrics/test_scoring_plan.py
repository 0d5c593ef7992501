"""The options of `metrics`: their range, and that each is declared in one class."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from ddpm_lightning.metrics.scoring_plan import ScoringPlan

METRICS = Path(__file__).parents[2] / "conf" / "metrics"
NUMBERS: dict[str, Any] = {
    "num_samples": 40,
    "num_real": 50,
    "seed": 0,
    "real_seed": 0,
    "labels": "uniform",
    "kid_subsets": 4,
    "kid_subset_size": 20,
    "every_n_epochs": None,
    "weights": None,
    "chunk_size": 10,
}


@pytest.fixture
def plan(mean_colours) -> ScoringPlan:
    return ScoringPlan(features=mean_colours, **NUMBERS)


def test_the_plan_has_the_options_of_the_yaml():
    written = OmegaConf.load(METRICS / "default.yaml")
    assert {*written, "features"} - {"defaults"} == {field.name for field in dataclasses.fields(ScoringPlan)}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("kid_subsets", 0, r"metrics\.kid_subsets must be at least 1, not 0"),
        ("kid_subset_size", 1, r"metrics\.kid_subset_size must be at least 2, not 1"),
        ("chunk_size", 0, r"metrics\.chunk_size must be at least 1, not 0"),
        ("every_n_epochs", 0, r"metrics\.every_n_epochs must be at least 1, not 0"),
        ("labels", "rare", r"unknown metrics\.labels 'rare': choose from uniform, as_in_data"),
        ("num_samples", 19, r"num_samples=19 and .*num_real=50 must be at least metrics\.kid_subset_size=20"),
        ("num_real", 19, r"num_samples=40 and .*num_real=19 must be at least metrics\.kid_subset_size=20"),
    ],
)
def test_options_out_of_range_are_refused_by_name(plan, option, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(plan, **{option: value})


def test_precision_and_recall_need_four_images(plan):
    assert dataclasses.replace(plan, kid_subset_size=2, num_samples=4, num_real=4).num_real == 4
    with pytest.raises(ValueError, match=r"num_samples=3 .* must be at least 4: precision and recall look at 3"):
        dataclasses.replace(plan, kid_subset_size=2, num_samples=3)


@pytest.mark.parametrize(("every", "scored"), [(None, []), (1, [0, 1, 2, 3, 4, 5]), (2, [1, 3, 5]), (6, [5])])
def test_every_nth_epoch_is_scored(plan, every, scored):
    plan = dataclasses.replace(plan, every_n_epochs=every)
    assert [epoch for epoch in range(6) if plan.scores_epoch(epoch)] == scored
