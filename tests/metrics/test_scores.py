import json
from dataclasses import replace

import pytest

from ddpm_lightning.metrics.frechet import frechet_distance
from ddpm_lightning.metrics.kernel import kernel_distance, kernel_distance_subsets
from ddpm_lightning.metrics.precision_recall import precision_recall
from ddpm_lightning.metrics.scores import compare_features


def test_names_carry_the_extractor_and_values_are_the_metrics(random_features, card):
    report = compare_features(*random_features, card, kid_subsets=5, kid_subset_size=20, seed=3)
    mean, deviation = kernel_distance_subsets(*random_features, subsets=5, subset_size=20, seed=3)
    precision, recall = precision_recall(*random_features)
    assert precision != recall
    assert report.values == {
        "kid_lenet_mnist": kernel_distance(*random_features),
        "fid_lenet_mnist": frechet_distance(*random_features),
        "precision_lenet_mnist": precision,
        "recall_lenet_mnist": recall,
        "kid_lenet_mnist_subsets_mean": mean,
        "kid_lenet_mnist_subsets_std": deviation,
    }
    assert report.card is card


def test_report_is_plain_json(random_features, card):
    report = compare_features(*random_features, card, kid_subsets=2, kid_subset_size=20, seed=0)
    assert json.loads(json.dumps(report.to_dict())) == {"values": report.values, "card": card.to_dict()}


def test_a_card_with_other_counts_is_refused(random_features, card):
    real, generated = random_features
    with pytest.raises(ValueError, match="50 real and 40 generated"):
        compare_features(real, generated[:30], card, kid_subsets=2, kid_subset_size=20, seed=0)


def test_too_large_subsets_are_refused(random_features, card):
    with pytest.raises(ValueError, match="40 generated samples are too few, at least 41 are needed"):
        compare_features(*random_features, card, kid_subsets=2, kid_subset_size=41, seed=0)


def test_too_few_samples_for_neighbours_are_refused(random_features, card):
    few = [features[:3] for features in random_features]
    counted = replace(card, num_real=3, num_generated=3)
    with pytest.raises(ValueError, match="3 real samples are too few, at least 4 are needed"):
        compare_features(*few, counted, kid_subsets=2, kid_subset_size=2, seed=0)
