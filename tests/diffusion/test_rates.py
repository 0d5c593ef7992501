import pytest
import torch

from ddpm_lightning.diffusion.schedule import Rates
from ddpm_lightning.diffusion.schedules.discrete import DiscreteSchedule
from ddpm_lightning.diffusion.schedules.edm import EDMSchedule
from ddpm_lightning.diffusion.schedules.flow import FlowSchedule


def test_the_standard_deviation_is_that_of_unit_data(generator):
    """With 200,000 samples, within five standard errors."""
    rates = Rates(torch.tensor([1.0, 0.6, 0.3, 1.0]), torch.tensor([0.0, 0.8, 0.7, 80.0]))
    x_0, eps = torch.randn(2, 4, 200_000, generator=generator)
    alpha, sigma = rates.broadcast_to(x_0)
    torch.testing.assert_close((alpha * x_0 + sigma * eps).std(1), rates.std(), rtol=5 / 400_000**0.5, atol=0)


def test_standard_deviations_by_hand():
    rates = Rates(torch.tensor([0.6, 0.5, 1.0]), torch.tensor([0.8, 0.5, 3.0]))
    torch.testing.assert_close(rates.std(), torch.tensor([1.0, 0.5**0.5, 10**0.5]))
    torch.testing.assert_close(rates.input_scale(), torch.tensor([1.0, 1.0, 10**-0.5]))


def test_only_an_exploding_path_is_scaled(path):
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    scale = path.rates(t).input_scale()
    if isinstance(path, DiscreteSchedule | FlowSchedule):
        torch.testing.assert_close(scale, torch.ones_like(t), rtol=1e-12, atol=0)
    if isinstance(path, EDMSchedule):
        torch.testing.assert_close(scale, (1 + path.rates(t).sigma ** 2) ** -0.5, rtol=1e-12, atol=0)
        assert scale[-1] < 0.0126
    assert (path.rates(t).std() * scale <= 1 + 1e-12).all()


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 3, 4, 5)], ids=str)
def test_rates_broadcast_over_trailing_axes(path, shape):
    rates = path.rates(torch.tensor([0.1, 0.9]))
    alpha, sigma = rates.broadcast_to(torch.ones(shape))
    for ours, of_a_sample in ((alpha * torch.ones(shape), rates.alpha), (sigma * torch.ones(shape), rates.sigma)):
        assert ours.shape == shape
        assert torch.equal(ours.flatten(1).unique(dim=1) if ours.dim() > 1 else ours[:, None], of_a_sample[:, None])
