"""The loss in every pair of spaces, predicted and compared, on every path."""

from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from choices import choices, make
from ddpm_lightning.diffusion.forward_process import Noised, noise_batch
from ddpm_lightning.diffusion.loss import AbsoluteError, Huber, SquaredError
from ddpm_lightning.diffusion.objective import Objective
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Image, Noise, Target, Velocity
from ddpm_lightning.diffusion.weighting import Constant, MinSNR

REFERENCES = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": lambda *pair: F.huber_loss(*pair, delta=0.1)}


def batch_of(schedule: Schedule, generator: torch.Generator, dtype=torch.float64) -> tuple[Noised, Tensor]:
    """A noised batch over [t_min, 0.98], and a random network output."""
    t = torch.linspace(schedule.t_min, 0.98, 12, dtype=dtype)
    x_0, eps, output = torch.randn(3, 12, 1, 3, 3, generator=generator, dtype=dtype)
    return noise_batch(schedule, x_0, eps, t), output


def solved(target: Target, output: Tensor, batch: Noised) -> tuple[Tensor, Tensor]:
    """x_0 and eps from x_t and the output, by linear algebra in float64."""
    alpha, sigma = (rate.double() for rate in batch.rates)
    a, b = (part.double() for part in target.coefficients(batch.rates))
    system = torch.stack([torch.stack([alpha, sigma], -1), torch.stack([a, b], -1)], -2)
    known = torch.stack([batch.x_t.double().flatten(1), output.double().flatten(1)], 1)
    x_0, eps = torch.linalg.solve(system, known).unbind(1)
    return x_0.view(output.shape), eps.view(output.shape)


def gradient(loss: Tensor, output: Tensor) -> Tensor:
    return torch.autograd.grad(loss.sum(), output)[0]


def test_min_snr_has_the_gradient_of_the_image_error(path, target, loss_on, generator):
    """That is w |x_0_hat - x_0|^2 with w = min(SNR, gamma), for every space of the prediction and of the loss."""
    for dtype, tolerance in ((torch.float32, 2e-3), (torch.float64, 1e-7)):
        check_gradient(target, loss_on, *batch_of(path, generator, dtype), tolerance)


def check_gradient(target: Target, loss_on: Target, batch: Noised, output: Tensor, tolerance: float) -> None:
    output.requires_grad_()
    ours = Objective(loss_on, SquaredError(), MinSNR(5.0))(target.invert(output, batch.x_t, batch.rates), batch)
    x_0_hat, _ = solved(target, output, batch)
    weight = (batch.rates.alpha.double() / batch.rates.sigma.double()).square().clamp(max=5.0)
    expected = weight * (x_0_hat - batch.x_0).square().flatten(1).mean(1)
    ours_gradient, expected_gradient = gradient(ours, output), gradient(expected, output)
    assert (expected_gradient.flatten(1).norm(dim=1) > 0).all()
    largest = expected_gradient.flatten(1).abs().max(1).values[:, None, None, None]
    assert ((ours_gradient - expected_gradient).abs() <= tolerance * largest).all()
    torch.testing.assert_close(ours, expected.to(output.dtype), rtol=tolerance, atol=0)


def test_constant_weighting_compares_in_the_space_of_loss_on(path, target, loss_on, generator):
    """|loss_on(x_0_hat, eps_hat) - loss_on(x_0, eps)|^2, or another measure of the same difference."""
    batch, output = batch_of(path, generator)
    x_0_hat, eps_hat = solved(target, output, batch)
    alpha, sigma = batch.rates.broadcast_to(output)
    a, b = loss_on.coefficients(batch.rates.broadcast_to(output))
    estimate, truth = a * x_0_hat + b * eps_hat, a * batch.x_0 + b * batch.eps
    torch.testing.assert_close(alpha * x_0_hat + sigma * eps_hat, batch.x_t, rtol=1e-9, atol=1e-9)
    for choice, reference in REFERENCES.items():
        objective = Objective(loss_on, make("loss", choice), Constant())
        ours = objective(target.invert(output, batch.x_t, batch.rates), batch)
        expected = torch.stack([reference(*pair) for pair in zip(estimate, truth, strict=True)])
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-10)


def test_a_perfect_network_has_no_loss(path, target, generator):
    batch, _ = batch_of(path, generator)
    output = target(batch.x_0, batch.eps, batch.rates)
    spaces = [make("loss_on", choice) for choice in choices("loss_on")]
    for loss_on, weighting in product(spaces, (Constant(), MinSNR())):
        loss = Objective(loss_on, SquaredError(), weighting)(target.invert(output, batch.x_t, batch.rates), batch)
        torch.testing.assert_close(loss, torch.zeros_like(loss), rtol=0, atol=1e-12)


def test_min_snr_is_the_same_loss_for_every_target(path, generator):
    """Networks that estimate the same image from the same x_t have the same weighted loss in all spaces."""
    batch, guess = batch_of(path, generator)
    guessed_eps = Image().invert(guess, batch.x_t, batch.rates).eps
    expected = batch.log_snr.exp().clamp(max=5) * (guess - batch.x_0).square().flatten(1).mean(1)
    for choice in choices("predict"):
        target = make("predict", choice)
        output = target(guess, guessed_eps, batch.rates)
        ours = Objective(target, SquaredError(), MinSNR(5.0))(target.invert(output, batch.x_t, batch.rates), batch)
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-12)


def test_the_simple_loss_compares_noise_and_nothing_else(schedule, generator):
    """Ho et al. 2020, eq. 14."""
    x_0, eps, output = torch.randn(3, 2, 1, 4, 4, generator=generator)
    batch = noise_batch(schedule, x_0, eps, torch.tensor([0.1, 0.8]))
    ours = Objective(Noise(), SquaredError(), Constant())(Noise().invert(output, batch.x_t, batch.rates), batch)
    torch.testing.assert_close(ours, (output - eps).square().mean((1, 2, 3)))


@pytest.mark.parametrize("choice", choices("predict"))
@pytest.mark.parametrize("weighting", [Constant(), MinSNR()], ids=["constant", "min_snr"])
def test_equal_spaces_never_divide(path, choice, weighting, generator):
    """Even where no signal is left; predict and loss_on are equal but not the same object."""
    x_0, eps, output = torch.randn(3, 3, 1, 2, 2, generator=generator)
    output.requires_grad_()
    batch = noise_batch(path, x_0, eps, torch.tensor([0.5, 1 - 2.0**-24, 1.0]))
    predict, loss_on = make("predict", choice, t_max=0.9), make("loss_on", choice)
    loss = Objective(loss_on, SquaredError(), weighting)(predict.invert(output, batch.x_t, batch.rates), batch)
    error = (output - loss_on(x_0, eps, batch.rates)).square().flatten(1).mean(1)
    torch.testing.assert_close(loss, weighting(batch.rates, loss_on) * error)
    assert loss.isfinite().all()
    assert gradient(loss, output).isfinite().all()


@pytest.mark.parametrize("target", [Noise(), Image()], ids=["noise", "image"])
def test_predicted_noise_and_images_are_compared_directly(path, target, generator):
    """x_t plays no part, so nothing is lost to inverting and converting back."""
    batch, output = batch_of(path, generator, torch.float32)
    objective = Objective(target, AbsoluteError(), Constant())
    unknown = torch.full_like(batch.x_t, torch.nan)
    expected = (output - target(batch.x_0, batch.eps, batch.rates)).abs().flatten(1).mean(1)
    assert torch.equal(objective(target.invert(output, unknown, batch.rates), batch), expected)


@pytest.mark.parametrize("loss", [AbsoluteError(), Huber()], ids=["mae", "huber"])
def test_min_snr_is_refused_without_the_squared_error(loss):
    with pytest.raises(ValueError, match=r"MinSNR weights squared errors of x_0.*loss=mse or weighting=constant"):
        Objective(Velocity(), loss, MinSNR())
    Objective(Velocity(), loss, Constant())
