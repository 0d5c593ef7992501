import math

import pytest
import torch
from torch import Tensor

from choices import choices, make
from ddpm_lightning.diffusion.forward_process import q_sample
from ddpm_lightning.diffusion.schedule import Rates
from ddpm_lightning.diffusion.schedules.flow import FlowSchedule
from ddpm_lightning.diffusion.target import EDM, Flow, Image, Noise, Target, Velocity, eps_from_x_0, x_0_from_eps

CHOICES = choices("predict")


def matrix(target: Target, rates: Rates) -> Tensor:
    """The matrix that maps (x_0, eps) to (x_t, target), (B, 2, 2)."""
    a, b = target.coefficients(rates)
    return torch.stack([torch.stack([*rates], -1), torch.stack([a, b], -1)], -2)


def draw(shape: tuple[int, ...], generator: torch.Generator, count: int = 2, dtype=torch.float64) -> Tensor:
    return torch.randn(count, *shape, generator=generator, dtype=dtype)


def test_the_expected_choices_exist():
    assert {"noise", "image", "velocity", "flow", "edm"} <= {*CHOICES}
    assert choices("loss_on") == CHOICES


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_target_inverts_to_image_and_noise(path, target, dtype, generator):
    """Within the rounding of x_t and of the target, amplified by solving for x_0 and eps."""
    times = torch.tensor([0.002, 0.01, 0.3, 0.5, 0.7, 0.98], dtype=dtype)
    for shape in ((6, 1, 4, 4), (6, 3, 5, 2), (6, 7), (6,)):
        check_inverse(target, path.rates(times), shape, dtype, generator)
    check_inverse(target, path.rates(times[1:2]), (1, 1, 4, 4), dtype, generator)


def check_inverse(target: Target, rates: Rates, shape: tuple[int, ...], dtype: torch.dtype, generator) -> None:
    x_0, eps = draw(shape, generator, dtype=dtype)
    x_t = q_sample(x_0, eps, rates)
    output = target(x_0, eps, rates)
    prediction = target.invert(output, x_t, rates)
    assert prediction.x_0.shape == prediction.eps.shape == shape
    assert prediction.x_0.dtype == prediction.eps.dtype == dtype
    (alpha, sigma), (a, b) = rates.broadcast_to(x_0), target.coefficients(rates.broadcast_to(x_0))
    rounding = 4 * torch.finfo(dtype).eps / target.determinant(rates.broadcast_to(x_0)).abs()
    of_x_t, of_output = alpha * x_0.abs() + sigma * eps.abs(), a.abs() * x_0.abs() + b.abs() * eps.abs()
    assert ((prediction.x_0 - x_0).abs() <= rounding * (b.abs() * of_x_t + sigma * of_output)).all()
    assert ((prediction.eps - eps).abs() <= rounding * (alpha * of_output + a.abs() * of_x_t)).all()


@pytest.mark.parametrize("shape", [(), (1,), (4,), (4, 1)], ids=str)
def test_one_time_for_all_samples_may_have_any_shape(path, target, shape, generator):
    x_0, eps = draw((4, 1, 3, 3), generator)
    t = torch.tensor(0.4, dtype=torch.float64).expand(shape)
    rates, each = path.rates(t), path.rates(t.reshape(-1)[:1].expand(4))
    x_t, output = q_sample(x_0, eps, rates), target(x_0, eps, rates)
    assert torch.equal(output, target(x_0, eps, each))
    for ours, expected in zip(target.invert(output, x_t, rates)[:2], (x_0, eps), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-9)


def test_any_output_gives_image_and_noise_that_make_x_t(path, target, generator):
    rates = path.rates(torch.tensor([0.01, 0.3, 0.6, 0.9], dtype=torch.float64))
    x_t, output = draw((4, 3, 5, 5), generator)
    x_0, eps, _ = target.invert(output, x_t, rates)
    torch.testing.assert_close(q_sample(x_0, eps, rates), x_t, rtol=0, atol=1e-9)
    torch.testing.assert_close(target(x_0, eps, rates), output, rtol=0, atol=1e-9)


def test_closed_forms_equal_the_generic_formula(path, target, generator):
    rates = path.rates(torch.linspace(0.002, 0.98, 9, dtype=torch.float64))
    x_0, eps, output = draw((9, 2, 3, 3), generator, 3)
    x_t, weight = q_sample(x_0, eps, rates), torch.rand(9, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(target(x_0, eps, rates), Target.__call__(target, x_0, eps, rates))
    ours, generic = target.invert(output, x_t, rates), Target.invert(target, output, x_t, rates)
    torch.testing.assert_close(ours.x_0, generic.x_0)
    torch.testing.assert_close(ours.eps, generic.eps)
    weights = target.convert_weight(weight, rates), Target.convert_weight(target, weight, rates)
    torch.testing.assert_close(*weights)


def test_the_generic_formula_solves_the_linear_system(path, target, generator):
    """[x_t, output] = [[alpha, sigma], [a, b]] [x_0, eps], by linear algebra."""
    rates = path.rates(torch.linspace(0.002, 0.98, 9, dtype=torch.float64))
    system = matrix(target, rates)
    torch.testing.assert_close(target.determinant(rates), torch.linalg.det(system))
    x_t, output = draw((9,), generator)
    solution = torch.linalg.solve(system, torch.stack([x_t, output], -1))
    ours = torch.stack(target.invert(output, x_t, rates)[:2], -1)
    torch.testing.assert_close(ours, solution, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("time", [0.05, 0.4, 0.9])
def test_targets_and_determinants_by_hand(path, time):
    rates = path.rates(torch.tensor([time], dtype=torch.float64))
    alpha, sigma = rates.alpha.item(), rates.sigma.item()
    x_0, eps = torch.tensor([[2.0]], dtype=torch.float64), torch.tensor([[-3.0]], dtype=torch.float64)
    n = math.hypot(alpha * 0.5, sigma)
    expected = {
        Noise(): (-3, alpha),
        Image(): (2, -sigma),
        Velocity(): (alpha * -3 - sigma * 2, alpha**2 + sigma**2),
        Flow(): (-5, alpha + sigma),
        EDM(sigma_data=0.5): ((sigma / 0.5 * 2 - alpha * 0.5 * -3) / n, -n / 0.5),
    }
    for target, (value, determinant) in expected.items():
        assert target(x_0, eps, rates).item() == pytest.approx(value)
        assert target.determinant(rates).item() == pytest.approx(determinant)


def test_flow_is_the_derivative_of_x_t_on_the_straight_path(generator):
    x_0, eps = draw((1, 5), generator)
    t = torch.tensor([0.3], dtype=torch.float64)
    rates = FlowSchedule().rates
    derivative = (q_sample(x_0, eps, rates(t + 1e-6)) - q_sample(x_0, eps, rates(t - 1e-6))) / 2e-6
    torch.testing.assert_close(Flow()(x_0, eps, rates(t)), derivative, rtol=0, atol=1e-8)


def test_noise_and_image_of_x_t_determine_each_other(path, generator):
    rates = path.rates(torch.tensor([0.1, 0.7], dtype=torch.float64))
    x_t, x_0 = draw((2, 1, 3, 3), generator)
    eps = eps_from_x_0(x_t, x_0, rates)
    torch.testing.assert_close(q_sample(x_0, eps, rates), x_t, rtol=0, atol=1e-9)
    torch.testing.assert_close(x_0_from_eps(x_t, eps, rates), x_0, rtol=0, atol=1e-9)


def test_a_converted_weight_gives_the_same_weighted_error(path, target, generator):
    """weight * |error of x_0|^2 = converted weight * |error of the target|^2 for any output."""
    rates = path.rates(torch.linspace(0.05, 0.95, 10, dtype=torch.float64))
    x_0, eps, output = draw((10, 2, 3, 3), generator, 3)
    x_t = q_sample(x_0, eps, rates)
    weight = torch.rand(10, generator=generator, dtype=torch.float64) + 0.1

    def squared(error: Tensor) -> Tensor:
        return error.square().flatten(1).sum(1)

    on_image = weight * squared(target.invert(output, x_t, rates).x_0 - x_0)
    on_target = squared(target(x_0, eps, rates) - output)
    torch.testing.assert_close(target.convert_weight(weight, rates) * on_target, on_image, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("choice", CHOICES)
def test_targets_that_differ_only_in_t_max_are_equal(choice):
    """They are the same space, whichever group they were chosen in."""
    plain, early, other = make("predict", choice), make("predict", choice, t_max=0.3), make("loss_on", choice)
    assert plain == early == other
    assert hash(plain) == hash(early) == hash(other)
    assert (plain.t_max, early.t_max) == (None, 0.3)
    assert [make("predict", another) == plain for another in CHOICES].count(True) == 1


def test_another_sigma_data_is_another_space():
    assert EDM(sigma_data=0.5) != EDM(sigma_data=1.0)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_output_has_the_channels_of_the_target(target, channels):
    x = torch.zeros(2, channels, 4, 4)
    assert target.output_channels(channels) == target(x, x, Rates(torch.ones(2), torch.ones(2))).shape[1] == channels


@pytest.mark.parametrize("choice", CHOICES)
def test_a_targets_name_is_its_choices_name(choice):
    assert make("predict", choice).name == choice


@pytest.mark.parametrize("t_max", [0.0, -0.5, 1.01, math.nan])
@pytest.mark.parametrize("make_target", [Noise, Image, Velocity, Flow, EDM])
def test_a_t_max_outside_the_schedule_is_refused(make_target, t_max):
    with pytest.raises(ValueError, match=r"t_max of a target must lie in \(0, 1\]"):
        make_target(t_max=t_max)
