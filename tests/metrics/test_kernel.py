import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from ddpm_lightning.metrics import kernel
from ddpm_lightning.metrics.kernel import kernel_distance, kernel_distance_subsets


def test_two_tiny_sets_by_hand():
    # D = 1, k(x, y) = (x y + 1)^3. Real {0, 1}: the one pair has k = 1. Generated {1, 2}: k = 27.
    # Across: k(0, 1) = 1, k(0, 2) = 1, k(1, 1) = 8, k(1, 2) = 27, mean 37/4. KID = 1 + 27 - 2 * 37/4 = 9.5.
    assert kernel_distance(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])) == pytest.approx(9.5, rel=1e-12)


def test_dimension_scales_the_product_by_hand():
    # D = 2. Real {(2, 0), (0, 2)}: k = 1. Generated {(2, 2), (2, 0)}: k = (4/2 + 1)^3 = 27.
    # Across: products 4, 4, 4, 0 -> k = 27, 27, 27, 1, mean 20.5. KID = 1 + 27 - 41 = -13.
    real, generated = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([[2.0, 2.0], [2.0, 0.0]])
    assert kernel_distance(real, generated) == pytest.approx(-13, rel=1e-12)


def test_equals_torch_fidelity_on_one_subset_of_all_samples(random_features):
    real, generated = (features[:40].double() for features in random_features)
    theirs = kid_features_to_metric(real, generated, kid_subsets=1, kid_subset_size=40, verbose=False)
    assert kernel_distance(real, generated) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)


def test_blocks_do_not_change_the_value(random_features, monkeypatch):
    whole = kernel_distance(*random_features)
    monkeypatch.setattr(kernel, "BLOCK_SIZE", 7)
    assert kernel_distance(*random_features) == pytest.approx(whole, rel=1e-12)


def test_unbiased_for_unequal_small_sets_of_one_distribution():
    generator = torch.Generator().manual_seed(0)
    draws = torch.tensor(
        [
            kernel_distance(torch.randn(6, 4, generator=generator), torch.randn(9, 4, generator=generator))
            for _ in range(1000)
        ]
    )
    standard_error = draws.std() / len(draws) ** 0.5
    # A biased estimate (diagonal kept) lies above 0 by E[k(x, x) - k(x, y)] (1/6 + 1/9), about 2, some 60 errors away.
    assert draws.mean().abs() < 4 * standard_error
    assert standard_error < 0.1


def test_subsets_are_torch_fidelitys(random_features):
    mean, deviation = kernel_distance_subsets(*random_features, subsets=9, subset_size=30, seed=5)
    theirs = kid_features_to_metric(*random_features, kid_subsets=9, kid_subset_size=30, rng_seed=5, verbose=False)
    assert mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-12)
    assert deviation == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-12)


def test_mean_over_many_subsets_is_the_full_estimate(random_features):
    mean, deviation = kernel_distance_subsets(*random_features, subsets=2000, subset_size=30, seed=0)
    assert mean == pytest.approx(kernel_distance(*random_features), abs=4 * deviation / 2000**0.5)


def test_global_generators_do_not_move(random_features):
    torch_before, (_, numpy_before, position, *_) = torch.get_rng_state(), np.random.get_state()
    kernel_distance(*random_features)
    kernel_distance_subsets(*random_features, subsets=2, subset_size=10, seed=0)
    _, numpy_after, position_after, *_ = np.random.get_state()
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(numpy_after, numpy_before)
    assert position_after == position


def test_too_few_samples_are_refused(random_features):
    with pytest.raises(ValueError, match="samples are too few, at least 1000 are needed"):
        kernel_distance_subsets(*random_features, subsets=2, subset_size=1000, seed=0)
    with pytest.raises(ValueError, match="1 real samples are too few"):
        kernel_distance(random_features[0][:1], random_features[1])
