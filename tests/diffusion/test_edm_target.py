"""EDM's preconditioning, as in table 1 of Karras et al. 2022."""

import math

import pytest
import torch

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.forward_process import noise_batch, q_sample
from ddpm_lightning.diffusion.loss import SquaredError
from ddpm_lightning.diffusion.objective import Objective
from ddpm_lightning.diffusion.schedule import Rates
from ddpm_lightning.diffusion.schedules.edm import EDMSchedule
from ddpm_lightning.diffusion.target import EDM
from ddpm_lightning.diffusion.weighting import Constant

SIGMA = torch.tensor([0.002, 0.05, 0.5, 1.0, 7.0, 80.0], dtype=torch.float64)
every_sigma_data = pytest.mark.parametrize("sigma_data", [0.2, 0.5, 1.0, 1.7])


class Table1:
    """The column "Ours (EDM)", in scalars."""

    def __init__(self, sigma: float, sigma_data: float) -> None:
        self.c_skip = sigma_data**2 / (sigma**2 + sigma_data**2)
        self.c_out = sigma * sigma_data / math.sqrt(sigma_data**2 + sigma**2)
        self.c_in = 1 / math.sqrt(sigma**2 + sigma_data**2)
        self.c_noise = math.log(sigma) / 4
        self.loss_weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


class Recorder(torch.nn.Module):
    """A network that answers with a fixed tensor and remembers its input."""

    conditioning = EDM.conditioning
    num_classes = None

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x, noise_level, label=None):
        self.x, self.noise_level = x, noise_level
        return self.answer


@every_sigma_data
def test_the_denoiser_is_skip_plus_scaled_output(sigma_data, generator):
    """D(x; sigma) = c_skip x + c_out F."""
    x, output = torch.randn(2, len(SIGMA), 1, 3, 3, generator=generator, dtype=torch.float64)
    rates = Rates(torch.ones_like(SIGMA), SIGMA)
    x_0, eps, _ = EDM(sigma_data=sigma_data).invert(output, x, rates)
    for i, sigma in enumerate(SIGMA.tolist()):
        table = Table1(sigma, sigma_data)
        denoised = table.c_skip * x[i] + table.c_out * output[i]
        torch.testing.assert_close(x_0[i], denoised, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(eps[i], (x[i] - denoised) / sigma, rtol=1e-9, atol=1e-9)
        assert EDM(sigma_data=sigma_data).input_scale(rates)[i].item() == pytest.approx(table.c_in)


@every_sigma_data
def test_the_target_is_that_of_the_paper(sigma_data, generator):
    """Equation 8: (y - c_skip (y + n)) / c_out, with n = sigma eps."""
    x_0, eps = torch.randn(2, len(SIGMA), 5, generator=generator, dtype=torch.float64)
    ours = EDM(sigma_data=sigma_data)(x_0, eps, Rates(torch.ones_like(SIGMA), SIGMA))
    for i, sigma in enumerate(SIGMA.tolist()):
        table = Table1(sigma, sigma_data)
        expected = (x_0[i] - table.c_skip * (x_0[i] + sigma * eps[i])) / table.c_out
        torch.testing.assert_close(ours[i], expected, rtol=1e-6, atol=1e-9)


def test_the_network_sees_c_in_x_and_c_noise(generator):
    schedule, t = EDMSchedule(), torch.linspace(0.001, 1, 6)
    x_t, answer = torch.randn(2, 6, 1, 3, 3, generator=generator)
    network = Recorder(answer)
    prediction = Denoiser(network, schedule, EDM(sigma_data=0.5))(x_t, t)
    for i, sigma in enumerate(schedule.rates(t).sigma.tolist()):
        table = Table1(sigma, 0.5)
        torch.testing.assert_close(network.x[i], table.c_in * x_t[i])
        assert network.noise_level[i].item() == pytest.approx(table.c_noise, rel=1e-5, abs=1e-6)
        expected = table.c_skip * x_t[i] + table.c_out * answer[i]
        torch.testing.assert_close(prediction.x_0[i], expected, rtol=1e-5, atol=1e-5)


@every_sigma_data
def test_the_constant_weight_is_the_papers(sigma_data, generator):
    """lambda(sigma) |D - y|^2, averaged over pixels."""
    schedule, t = EDMSchedule(), torch.linspace(0.001, 1, 6, dtype=torch.float64)
    x_0, eps, output = torch.randn(3, 6, 1, 3, 3, generator=generator, dtype=torch.float64)
    target, batch = EDM(sigma_data=sigma_data), noise_batch(schedule, x_0, eps, t)
    ours = Objective(target, SquaredError(), Constant())(target.invert(output, batch.x_t, batch.rates), batch)
    for i, sigma in enumerate(batch.rates.sigma.tolist()):
        table = Table1(sigma, sigma_data)
        error = table.c_skip * batch.x_t[i] + table.c_out * output[i] - x_0[i]
        assert ours[i].item() == pytest.approx(table.loss_weight * error.square().mean().item(), rel=1e-6)


@every_sigma_data
def test_input_and_target_have_unit_variance_on_every_path(path, sigma_data):
    """For data of standard deviation sigma_data."""
    rates, target = path.rates(torch.linspace(0.001, 1, 101, dtype=torch.float64)), EDM(sigma_data=sigma_data)
    a, b = target.coefficients(rates)
    one = torch.ones_like(a)
    torch.testing.assert_close(a**2 * sigma_data**2 + b**2, one)
    torch.testing.assert_close(target.input_scale(rates) ** 2 * (rates.alpha**2 * sigma_data**2 + rates.sigma**2), one)


def test_input_and_target_are_uncorrelated_on_every_path(path):
    """So that the network has nothing to copy: this c_skip amplifies its errors least (appendix B.6)."""
    rates, target = path.rates(torch.linspace(0.001, 1, 101, dtype=torch.float64)), EDM(sigma_data=0.5)
    a, b = target.coefficients(rates)
    torch.testing.assert_close(a * rates.alpha * 0.25 + b * rates.sigma, torch.zeros_like(a), rtol=0, atol=1e-9)


def test_drawn_inputs_and_targets_have_unit_variance(path, generator):
    """With 20,000 samples, within five standard errors."""
    rates, target, count = path.rates(torch.linspace(0.001, 1, 7)), EDM(sigma_data=0.5), 20_000
    x_0, eps = torch.randn(2, 7, count, generator=generator)
    x_0 = x_0 * 0.5
    scaled = target.input_scale(rates)[:, None] * q_sample(x_0, eps, rates)
    for drawn in (scaled, target(x_0, eps, rates)):
        torch.testing.assert_close(drawn.std(1), torch.ones(7), rtol=0, atol=5 / (2 * count) ** 0.5)


def test_edm_asks_for_its_own_conditioning():
    assert EDM().conditioning is Conditioning.C_NOISE


@pytest.mark.parametrize("sigma_data", [0.0, -0.5])
def test_a_sigma_data_that_is_not_positive_is_refused(sigma_data):
    with pytest.raises(
        ValueError, match=f"sigma_data of predict=edm and loss_on=edm must be above 0, not {sigma_data}"
    ):
        EDM(sigma_data=sigma_data)
