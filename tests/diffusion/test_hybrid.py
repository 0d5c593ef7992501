"""The variational bound as a loss, and what it trains."""

import math

import pytest
import torch
from torch import Tensor

from ddpm_lightning.diffusion.bound import VariationalBound
from ddpm_lightning.diffusion.forward_process import Noised, noise_batch
from ddpm_lightning.diffusion.loss import VLB, Huber, Hybrid, SquaredError
from ddpm_lightning.diffusion.objective import Objective, objective_of
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.target import Noise, Prediction
from ddpm_lightning.diffusion.variance import FIXED_SMALL, FixedVariance, LearnedRange
from ddpm_lightning.diffusion.weighting import Constant

STEPS = 50
SCHEDULE = LinearSchedule(STEPS)


@pytest.fixture
def batch(generator) -> Noised:
    """One image at every node of the table; double precision."""
    x_0 = torch.randint(0, 256, (STEPS, 1, 4, 4), generator=generator).double() / 127.5 - 1
    t = torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS
    return noise_batch(SCHEDULE, x_0, torch.randn(x_0.shape, generator=generator, dtype=torch.float64), t)


@pytest.fixture
def outputs(batch: Noised, generator) -> tuple[Tensor, Tensor]:
    """Predicted noise, and v, both with gradients."""
    eps = batch.eps + 0.1 * torch.randn(batch.eps.shape, generator=generator, dtype=torch.float64)
    return eps.requires_grad_(), torch.rand(batch.eps.shape, generator=generator, dtype=torch.float64).requires_grad_()


def prediction_of(batch: Noised, eps: Tensor, v: Tensor | float | None) -> Prediction:
    return Noise().invert(eps, batch.x_t, batch.rates)._replace(v=v)


def of(loss, variance=LearnedRange()) -> Objective:  # noqa: B008
    return objective_of(Noise(), loss, Constant(), SCHEDULE, variance)


def test_the_bound_of_a_hybrid_loss_trains_the_variance_alone(batch, outputs):
    eps, v = outputs
    hybrid = of(Hybrid(weight=0.01, num_steps=STEPS))(prediction_of(batch, eps, v), batch)
    simple = Objective(Noise(), SquaredError(), Constant())(prediction_of(batch, eps, None), batch)
    bound = of(VLB(num_steps=STEPS))(prediction_of(batch, eps, v), batch)
    torch.testing.assert_close(hybrid, simple + 0.01 * bound)
    (of_eps, of_v), (simple_of_eps,), (_, bound_of_v) = (
        torch.autograd.grad(hybrid.sum(), outputs),
        torch.autograd.grad(simple.sum(), [eps]),
        torch.autograd.grad(bound.sum(), outputs, retain_graph=True),
    )
    torch.testing.assert_close(of_eps, simple_of_eps)
    torch.testing.assert_close(of_v, 0.01 * bound_of_v)
    assert (of_v != 0).any()


def test_the_simple_loss_has_the_gradient_of_the_weighted_bound(batch, outputs):
    """Ho et al. 2020, eq. 12 and 14: where the step is not the last, and the variance fixed."""
    eps, _ = outputs
    bound = of(VLB(num_steps=STEPS), FIXED_SMALL)(prediction_of(batch, eps, 0.0), batch) / STEPS
    simple = Objective(Noise(), SquaredError(), Constant())(prediction_of(batch, eps, None), batch)
    alpha_bar = SCHEDULE.rates(torch.arange(STEPS + 1, dtype=torch.float64) / STEPS).alpha.square()
    beta = 1 - alpha_bar[1:] / alpha_bar[:-1]
    variance = beta * (1 - alpha_bar[:-1]) / (1 - alpha_bar[1:])
    weight = beta**2 / (2 * variance * (1 - beta) * (1 - alpha_bar[1:])) / math.log(2)
    (of_bound,), (of_simple,) = torch.autograd.grad(bound.sum(), [eps]), torch.autograd.grad(simple.sum(), [eps])
    torch.testing.assert_close(of_bound[1:], weight[1:, None, None, None] * of_simple[1:])


def test_the_mean_over_all_steps_is_the_sum_of_the_terms(batch, outputs):
    eps, v = outputs
    prediction = prediction_of(batch, eps, v)
    bound = VariationalBound(SCHEDULE, torch.arange(STEPS + 1) / STEPS)
    terms = bound.term(torch.arange(STEPS), prediction, batch.x_0, batch.x_t)
    torch.testing.assert_close(of(VLB(num_steps=STEPS))(prediction, batch).mean(), terms.sum())


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_variance_that_minimises_the_bound_is_between_its_limits(batch, value):
    """With the true image as the prediction, the posterior's own variance is the best."""
    v = torch.full_like(batch.x_0, value).requires_grad_()
    truth = Prediction(batch.x_0, batch.eps, v)
    terms = of(VLB(num_steps=STEPS))(truth, batch)[1:]
    (gradient,) = torch.autograd.grad(terms.sum(), [v])
    assert (gradient[1:] > 0).all() if value == 1 else torch.allclose(gradient[1:], torch.zeros(()).double(), atol=1e-9)


@pytest.mark.parametrize(
    ("loss", "variance", "message"),
    [
        (SquaredError(), LearnedRange(), "only the variational bound trains variance=learned_range: set loss=hybrid"),
        (Huber(), LearnedRange(), "only the variational bound trains"),
        (SquaredError(), FixedVariance(1.0), "which this loss lacks: set loss=vlb"),
        (
            Hybrid(num_steps=STEPS),
            FixedVariance(1.0),
            "does not learn: set variance=learned_range, or loss=mse or loss=vlb",
        ),
    ],
)
def test_a_variance_and_a_loss_that_do_not_fit_are_refused(loss, variance, message):
    with pytest.raises(ValueError, match=message):
        of(loss, variance)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Hybrid(weight=0), "loss.weight must be a finite number above 0, not 0"),
        (lambda: VLB(weight=math.nan), "loss.weight must be a finite number above 0, not nan"),
        (lambda: Hybrid(num_steps=1), "loss.num_steps must be at least 2, not 1"),
        (lambda: FixedVariance(1.5), r"variance.value must lie in \[0, 1\], not 1.5"),
    ],
)
def test_an_option_out_of_range_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
