from dataclasses import replace

import pytest
import torch

from ddpm_lightning.metrics.directions import higher_is_better
from ddpm_lightning.metrics.scores import compare_features
from ddpm_lightning.report.score_names import ERRORS, NAMES, SAMPLE_SCORES, is_sample_score
from ddpm_lightning.verbs.report import USAGE


@pytest.fixture
def values(card):
    """`values(shift)`: the scores of samples N(shift, I) against real features N(0, I)."""

    def score(shift):
        generator = torch.Generator().manual_seed(0)
        real, generated = torch.randn(200, 4, generator=generator), torch.randn(200, 4, generator=generator) + shift
        counted = replace(card, num_real=200, num_generated=200)
        return compare_features(real, generated, counted, kid_subsets=2, kid_subset_size=20, seed=0).values

    return score


def test_every_computed_score_has_a_name(values):
    assert {name.partition("_")[0] for name in values(0.0)} == set(SAMPLE_SCORES)


@pytest.mark.parametrize("kind", SAMPLE_SCORES)
def test_samples_closer_to_real_ones_score_better(values, kind):
    metric = f"{kind}_lenet_mnist"
    good, bad = values(0.1)[metric], values(2.0)[metric]
    assert good > bad if higher_is_better(metric) else good < bad


def test_errors_are_better_when_low():
    assert not any(is_sample_score(error) or higher_is_better(error) for error in ERRORS)


def test_a_higher_accuracy_is_better():
    assert higher_is_better("accuracy") and not is_sample_score("accuracy")


def test_the_usage_names_every_score():
    assert all(name in USAGE for name in NAMES)
