import numpy as np
import pytest
import torch

from ddpm_lightning.metrics import kernel
from ddpm_lightning.metrics.jackknife import kernel_jackknife, shared_covariance
from ddpm_lightning.metrics.kernel import kernel_distance


def without(features, sample):
    return torch.cat([features[:sample], features[sample + 1 :]])


def test_influences_equal_leaving_each_sample_out(random_features):
    real, generated = random_features
    jackknife = kernel_jackknife(real, generated)
    of_real = torch.tensor([kernel_distance(without(real, j), generated) for j in range(50)], dtype=torch.float64)
    of_generated = torch.tensor([kernel_distance(real, without(generated, j)) for j in range(40)], dtype=torch.float64)
    assert jackknife.value == pytest.approx(kernel_distance(real, generated), rel=1e-12)
    torch.testing.assert_close(
        jackknife.real_influences, (49 / 50) ** 0.5 * (of_real - of_real.mean()), rtol=1e-8, atol=1e-9
    )
    expected = (39 / 40) ** 0.5 * (of_generated - of_generated.mean())
    torch.testing.assert_close(jackknife.generated_influences, expected, rtol=1e-8, atol=1e-9)
    # The textbook's (n - 1) / n * sum of squares, for each of the two sets.
    textbook = 49 / 50 * (of_real - of_real.mean()).square().sum()
    textbook += 39 / 40 * (of_generated - of_generated.mean()).square().sum()
    assert jackknife.variance == pytest.approx(textbook.item(), rel=1e-9)


def test_blocks_do_not_change_the_influences(random_features, monkeypatch):
    whole = kernel_jackknife(*random_features)
    monkeypatch.setattr(kernel, "BLOCK_SIZE", 7)
    in_blocks = kernel_jackknife(*random_features)
    torch.testing.assert_close(in_blocks.real_influences, whole.real_influences, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(in_blocks.generated_influences, whole.generated_influences, rtol=1e-9, atol=1e-12)


def test_variance_is_that_of_repeated_draws():
    generator = torch.Generator().manual_seed(0)
    draws = [
        kernel_jackknife(torch.randn(60, 3, generator=generator), 1 + torch.randn(40, 3, generator=generator))
        for _ in range(1000)
    ]
    true = torch.tensor([draw.value for draw in draws]).var().item()
    estimated = torch.tensor([draw.variance for draw in draws]).mean().item()
    # The variance of 1,000 draws has an error of 5 %. The jackknife's bias is positive (Efron and Stein) and small.
    assert 0.9 * true < estimated < 1.2 * true


@pytest.mark.parametrize("num_shared", [0, 30, 60])
def test_covariance_from_shared_images_is_that_of_repeated_draws(num_shared):
    generator = torch.Generator().manual_seed(num_shared)
    first_indices, second_indices = np.arange(60), np.arange(60) + 60 - num_shared
    values, covariances, variances = [], [], []
    for _ in range(1000):
        pool = 1 + torch.randn(120, 3, generator=generator)
        first = kernel_jackknife(pool[first_indices], torch.randn(40, 3, generator=generator))
        second = kernel_jackknife(pool[second_indices], torch.randn(40, 3, generator=generator))
        values.append([first.value, second.value])
        covariances.append(
            shared_covariance(first.real_influences, first_indices, second.real_influences, second_indices)
        )
        variances.append(first.variance)
    true = np.cov(np.array(values).T)[0, 1]
    # The error of a covariance of 1,000 draws is about 1/sqrt(1000) of the variances; three times that is allowed.
    assert np.mean(covariances) == pytest.approx(true, abs=0.1 * np.mean(variances))
    assert (np.mean(covariances) > 0.15 * np.mean(variances)) == (num_shared > 0)


def test_covariance_with_itself_is_the_variance_in_any_order(random_features):
    influences = kernel_jackknife(*random_features).real_influences
    indices, order = np.arange(50) * 3, np.random.default_rng(0).permutation(50)
    covariance = shared_covariance(influences, indices, influences[order], indices[order])
    assert covariance == pytest.approx(influences.square().sum().item(), rel=1e-12)


def test_two_samples_are_too_few(random_features):
    with pytest.raises(ValueError, match="2 real samples are too few, at least 3"):
        kernel_jackknife(random_features[0][:2], random_features[1])
