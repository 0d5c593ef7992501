"""Every target: x_0 and eps come back from it, and errors are converted as they grow."""

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from ddpm_lightning.diffusion.forward_process import q_sample
from ddpm_lightning.diffusion.schedule import Rates, Schedule
from ddpm_lightning.diffusion.target import Target, eps_from_x_0, x_0_from_eps
from properties.strategies import chosen, image_shapes, normals, schedules, times

PRECISION = 1e-13  # of a few operations in float64


@st.composite
def rates_of_paths(draw: st.DrawFn) -> Rates:
    """Alpha and sigma, (B,), float64, at times at which any schedule is trained."""
    schedule: Schedule = draw(schedules())
    return schedule.rates(torch.tensor(draw(times(schedule.t_min)), dtype=torch.float64))


@st.composite
def images_and_noise(draw: st.DrawFn, batch_size: int) -> tuple[Tensor, Tensor]:
    """x_0 and eps, (B, C, H, W)."""
    shape = (batch_size, *draw(image_shapes()))
    return draw(normals(*shape)), draw(normals(*shape))


@given(chosen("predict"), rates_of_paths(), st.data())
def test_image_and_noise_come_back(target: Target, rates: Rates, data: st.DataObject):
    x_0, eps = data.draw(images_and_noise(len(rates.alpha)))
    x_t, output = q_sample(x_0, eps, rates), target(x_0, eps, rates)
    found = target.invert(output, x_t, rates)
    (alpha, sigma), (a, b) = rates.broadcast_to(x_0), target.coefficients(rates.broadcast_to(x_0))
    determinant = target.determinant(rates.broadcast_to(x_0)).abs()
    known = (determinant > 0).expand_as(x_0)
    rounding_x_0 = PRECISION * (1 + ((b * x_t).abs() + (sigma * output).abs()) / determinant)
    rounding_eps = PRECISION * (1 + ((alpha * output).abs() + (a * x_t).abs()) / determinant)
    assert ((found.x_0 - x_0).abs() <= rounding_x_0)[known].all()
    assert ((found.eps - eps).abs() <= rounding_eps)[known].all()


@given(rates_of_paths(), st.data())
def test_image_and_noise_give_each_other(rates: Rates, data: st.DataObject):
    x_0, eps = data.draw(images_and_noise(len(rates.alpha)))
    assume((rates.alpha > 1e-4).all())
    x_t = q_sample(x_0, eps, rates)
    torch.testing.assert_close(x_0_from_eps(x_t, eps, rates), x_0, rtol=0, atol=1e-8)
    torch.testing.assert_close(q_sample(x_0, eps_from_x_0(x_t, x_0, rates), rates), x_t, rtol=0, atol=1e-8)


@given(chosen("predict"), schedules())
def test_a_target_determines_the_image_all_along_a_path(target: Target, schedule: Schedule):
    """The determinant keeps its sign between the ends, and may only vanish where no signal is left."""
    ends = schedule.rates(torch.tensor([schedule.t_min, 1.0], dtype=torch.float64))
    first, last = target.determinant(ends)
    assert first * last > 0 or last == ends.alpha[1] == 0


@given(chosen("loss_on"), rates_of_paths(), st.data())
def test_a_converted_weight_counts_an_error_the_same(target: Target, rates: Rates, data: st.DataObject):
    """An error in x_0, and the error in eps that belongs to it, in either space."""
    assume((target.determinant(rates) != 0).all())
    x_0, error = data.draw(images_and_noise(len(rates.alpha)))
    alpha, sigma = rates.broadcast_to(x_0)
    error_in_target = target(error, -alpha / sigma * error, rates)
    weight = torch.linspace(0.5, 2, len(x_0), dtype=torch.float64)
    ours = target.convert_weight(weight, rates) * error_in_target.square().flatten(1).sum(1)
    torch.testing.assert_close(ours, weight * error.square().flatten(1).sum(1), rtol=1e-9, atol=0)
