import pytest
import torch
from ddpm_lightning.diffusion.parameterization import Image, Noise, Velocity

from ddpm_lightning.diffusion.forward_process import q_sample
from ddpm_lightning.diffusion.loss import AbsoluteError, Huber, SquaredError
from ddpm_lightning.diffusion.objective import Objective
from ddpm_lightning.diffusion.weighting import Constant, MinSNR


def test_min_snr_is_one_loss_whatever_the_network_predicts(schedule, generator):
    """Networks that estimate the same image from the same x_t have the same weighted loss in all three spaces."""
    t = torch.linspace(0.02, 0.95, 8, dtype=torch.float64)
    rates, log_snr = schedule.rates(t), schedule.log_snr(t)
    x_0, noise, guess = torch.randn(3, 8, 1, 4, 4, generator=generator, dtype=torch.float64)
    x_t = q_sample(x_0, noise, rates)
    guessed_noise = Image().invert(guess, x_t, rates).noise
    losses = []
    for parameterization in (Noise(), Image(), Velocity()):
        output = parameterization.target(guess, guessed_noise, rates)
        objective = Objective(parameterization, SquaredError(), MinSNR(5.0))
        losses.append(objective(output, x_0, noise, rates, log_snr))
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[2], losses[1])
    expected = log_snr.exp().clamp(max=5) * (guess - x_0).square().flatten(1).mean(1)
    torch.testing.assert_close(losses[1], expected)


def test_the_simple_loss_compares_noise_and_nothing_else(schedule, generator):
    """Ho et al. 2020, eq. 14."""
    t = torch.tensor([0.1, 0.8])
    x_0, noise, output = torch.randn(3, 2, 1, 4, 4, generator=generator)
    objective = Objective(Noise(), SquaredError(), Constant())
    ours = objective(output, x_0, noise, schedule.rates(t), schedule.log_snr(t))
    torch.testing.assert_close(ours, (output - noise).square().mean((1, 2, 3)))


@pytest.mark.parametrize("loss", [AbsoluteError(), Huber()], ids=["mae", "huber"])
def test_min_snr_is_refused_where_it_means_nothing(loss):
    with pytest.raises(ValueError, match=r"MinSNR is defined on squared errors.*loss=mse or weighting=constant"):
        Objective(Velocity(), loss, MinSNR())
    Objective(Velocity(), loss, Constant())
