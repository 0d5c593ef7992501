import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from ddpm_lightning.metrics.frechet import frechet_distance


def torch_fidelity_distance(real: torch.Tensor, generated: torch.Tensor) -> float:
    statistics = [fid_features_to_statistics(features.double()) for features in (real, generated)]
    return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


def with_exact_moments(num_samples: int, mean: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """Samples whose empirical mean and covariance are exactly the given ones."""
    generator = torch.Generator().manual_seed(num_samples)
    white = torch.randn(num_samples, len(mean), generator=generator, dtype=torch.float64)
    white, _ = torch.linalg.qr(white - white.mean(dim=0))
    return white * (num_samples - 1) ** 0.5 @ torch.linalg.cholesky(covariance).T + mean


def test_closed_form_for_gaussians_that_commute():
    mean_r, mean_g = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([0.0, 2.0, 5.0]).double()
    scale_r, scale_g = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 4.0, 1.0]).double()
    real = with_exact_moments(20, mean_r, scale_r.diag())
    generated = with_exact_moments(30, mean_g, scale_g.diag())
    expected = (mean_r - mean_g).square().sum() + (scale_r.sqrt() - scale_g.sqrt()).square().sum()
    assert frechet_distance(real, generated) == pytest.approx(expected.item(), rel=1e-10)


def test_closed_form_for_covariances_that_do_not_commute():
    c_r = torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double()
    c_g = torch.tensor([[1.0, -0.3], [-0.3, 3.0]]).double()
    zero = torch.zeros(2).double()
    # The root of a 2 x 2 matrix M has the trace sqrt(tr M + 2 sqrt(det M)).
    product = c_r @ c_g
    trace_of_root = (product.trace() + 2 * torch.linalg.det(product).sqrt()).sqrt()
    expected = c_r.trace() + c_g.trace() - 2 * trace_of_root
    value = frechet_distance(with_exact_moments(15, zero, c_r), with_exact_moments(25, zero, c_g))
    assert value == pytest.approx(expected.item(), rel=1e-10)


def test_equals_torch_fidelity(random_features):
    real, generated = random_features
    assert frechet_distance(real, generated) == pytest.approx(torch_fidelity_distance(real, generated), rel=1e-9)


@pytest.mark.parametrize("sizes", [(30, 20), (30, 200), (64, 65)])
def test_equals_torch_fidelity_without_full_rank(sizes):
    generator = torch.Generator().manual_seed(1)
    real, generated = (torch.randn(size, 64, generator=generator).relu() for size in sizes)
    assert frechet_distance(real, generated) == pytest.approx(torch_fidelity_distance(real, generated), rel=1e-5)


@pytest.mark.parametrize("num_samples", [20, 200])
def test_a_set_has_no_distance_from_itself(num_samples):
    features = torch.randn(num_samples, 64, generator=torch.Generator().manual_seed(2))
    features[:, 3] = 0  # as a dead unit
    assert abs(frechet_distance(features, features.flip(0))) < 1e-10


def test_symmetric_and_unmoved_by_a_rotation(random_features):
    real, generated = (features.double() for features in random_features)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    value = frechet_distance(real, generated)
    assert frechet_distance(generated, real) == pytest.approx(value, rel=1e-10)
    assert frechet_distance(real @ rotation, generated @ rotation) == pytest.approx(value, rel=1e-10)


def test_features_that_cannot_be_compared_are_refused(random_features):
    real, generated = random_features
    with pytest.raises(ValueError, match="1 generated samples are too few"):
        frechet_distance(real, generated[:1])
    with pytest.raises(ValueError, match="same extractor"):
        frechet_distance(real, generated[:, :4])
    with pytest.raises(ValueError, match="NaN"):
        frechet_distance(real * float("nan"), generated)
