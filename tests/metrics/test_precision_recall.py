import pytest
import torch
from torch_fidelity.metric_prc import prc_features_to_metric

from ddpm_lightning.metrics import precision_recall as module
from ddpm_lightning.metrics.precision_recall import precision_recall


def brute_force(real, generated, k):
    """The definition, pair by pair; a member's ball reaches to its k-th nearest neighbour."""

    def share(points, members):
        radii = [
            sorted((x - y).norm().item() for j, y in enumerate(members) if j != i)[k - 1] for i, x in enumerate(members)
        ]
        inside = [
            any((point - member).norm().item() <= radius for member, radius in zip(members, radii, strict=True))
            for point in points
        ]
        return sum(inside) / len(points)

    real, generated = real.double(), generated.double()
    return share(generated, real), share(real, generated)


def column(*values):
    return torch.tensor(values)[:, None]


@pytest.fixture
def overlapping():
    """Features (60, 8) and (45, 8), of which some are on the other's manifold and some are not."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(60, 8, generator=generator), 0.8 * torch.randn(45, 8, generator=generator) + 1


def test_by_hand():
    # k = 1. Real 0, 1, 3, 10 reach 1, 1, 2, 7: together from -1 to 17. Of the generated -2, 5, 8, 17 the first is
    # outside, and the last on the edge. These reach 7, 3, 3, 9: from -9 to 5, 2 to 8, 5 to 11 and 8 to 26.
    assert precision_recall(column(0.0, 1.0, 3.0, 10.0), column(-2.0, 5.0, 8.0, 17.0), 1) == (0.75, 1.0)


@pytest.mark.parametrize("k", [1, 3, 4])
def test_equals_the_definition(overlapping, k):
    found = precision_recall(*overlapping, neighborhood=k)
    assert found == pytest.approx(brute_force(*overlapping, k), abs=1e-12)
    assert all(0.05 < share < 0.95 for share in found)


def test_the_default_is_three_neighbours(overlapping):
    assert precision_recall(*overlapping) == precision_recall(*overlapping, neighborhood=3)
    assert precision_recall(*overlapping) != precision_recall(*overlapping, neighborhood=2)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equals_torch_fidelitys_on_the_same_features(k):
    generator = torch.Generator().manual_seed(1)
    real, generated = torch.rand(600, 64, generator=generator), torch.rand(500, 64, generator=generator) + 0.05
    theirs = prc_features_to_metric(generated, real, prc_neighborhood=k, verbose=False)
    found = precision_recall(real, generated, k)
    assert found == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)
    assert 0 < found.precision < 1 and 0 < found.recall < 1


def test_equals_the_whole_of_torch_fidelity_on_the_same_images(same_images):
    theirs, generated, real = same_images
    found = precision_recall(real, generated)
    assert found == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)
    assert 0 < found.precision < 1 and 0 < found.recall < 1 and found.precision != found.recall


def test_identical_sets_are_each_others_manifold(overlapping):
    real, _ = overlapping
    assert precision_recall(real, real.flip(0)) == (1, 1)


def test_sets_far_apart_share_nothing(overlapping):
    real, generated = overlapping
    assert precision_recall(real, generated + 1000) == (0, 0)


def test_a_collapsed_model_is_precise_and_covers_little():
    generator = torch.Generator().manual_seed(2)
    modes = 100 * torch.eye(5, 16).repeat_interleave(40, dim=0)  # five classes, far apart
    real = modes + torch.randn(200, 16, generator=generator)
    generated = modes[:1] + 0.5 * torch.randn(200, 16, generator=generator)
    found = precision_recall(real, generated)
    assert found.precision == 1
    assert 0 < found.recall <= 0.2
    # Conversely, the model generates much that is not real, but misses nothing.
    assert precision_recall(generated, real) == found[::-1]


def test_copies_of_one_sample_cover_only_that_sample():
    # Their balls have radius 0, and a copy lies in them, although features of one image differ by rounding between
    # batches of different sizes.
    generator = torch.Generator().manual_seed(3)
    real = torch.rand(300, 128, generator=generator)
    copies = real[7] * (1 + 1e-7 * torch.randn(500, 128, generator=generator))
    assert precision_recall(real, copies) == (1, pytest.approx(1 / 300))
    assert precision_recall(copies[:300], copies[300:]) == (1, 1)


def test_the_order_of_the_samples_does_not_matter(overlapping):
    real, generated = overlapping
    generator = torch.Generator().manual_seed(4)
    shuffled = [features[torch.randperm(len(features), generator=generator)] for features in (real, generated)]
    assert precision_recall(*shuffled) == precision_recall(real, generated)


def test_blocks_do_not_change_the_value(overlapping, monkeypatch):
    whole = precision_recall(*overlapping)
    monkeypatch.setattr(module, "BLOCK_SIZE", 7)
    assert precision_recall(*overlapping) == whole


def test_too_few_samples_are_refused(overlapping):
    real, generated = overlapping
    with pytest.raises(ValueError, match="3 generated samples are too few, at least 4 are needed"):
        precision_recall(real, generated[:3])
    with pytest.raises(ValueError, match="3 real samples are too few, at least 4 are needed"):
        precision_recall(real[:3], generated)
    assert precision_recall(real[:4], generated[:4]) == brute_force(real[:4], generated[:4], 3)


def test_features_that_cannot_be_compared_are_refused(overlapping):
    real, generated = overlapping
    with pytest.raises(ValueError, match="same extractor"):
        precision_recall(real, generated[:, :7])
    with pytest.raises(ValueError, match="NaN"):
        precision_recall(real, generated / 0)
