"""x_t has the distribution of the forward process, whichever way it was made."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from choices import choices, make
from ddpm_lightning.diffusion.forward_process import posterior
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.ddpm import DDPM
from ddpm_lightning.samplers.sampler import Sampler
from properties.point import NormalDenoiser, PointDenoiser, marginals
from properties.strategies import MANY, samplers, schedules, times
from samplers.every_sampler import is_exact

VALUES = st.floats(-1, 1, width=32)


@given(schedules(), st.data())
def test_the_posterior_leads_from_marginal_to_marginal(schedule: Schedule, data: st.DataObject):
    """x_t of q(x_t given x_0), then x_s of the posterior, is x_s of q(x_s given x_0)."""
    nodes = torch.tensor(data.draw(times(0.0)), dtype=torch.float64)
    s, t = nodes[:-1], nodes[1:]
    assume(bool((schedule.rates(t).sigma > 0).all()))
    q, (alpha_t, sigma_t), (alpha_s, sigma_s) = posterior(schedule, t, s), schedule.rates(t), schedule.rates(s)
    mean, variance = q.x_0_weight + q.x_t_weight * alpha_t, (q.x_t_weight * sigma_t).square() + q.variance
    scale = sigma_t.square().clamp(min=1)
    torch.testing.assert_close(mean, alpha_s, rtol=0, atol=1e-9)
    assert ((variance - sigma_s.square()).abs() <= 1e-9 * scale).all()
    step = (alpha_t / alpha_s * sigma_s).square() + q.step_variance  # x_s of q(x_s given x_0), then a step forward
    assert ((step - sigma_t.square()).abs() <= 1e-9 * scale).all()
    assert (q.variance >= 0).all() and (q.step_variance >= 0).all()


@pytest.mark.parametrize("choice", [name for name in choices("sampler") if is_exact(make("sampler", name))])
@given(schedules(), VALUES, st.data())
def test_every_step_keeps_the_marginal_of_a_single_image(
    choice: str, schedule: Schedule, x_0: float, data: st.DataObject
):
    """Any eta, any churn, on any times (Song et al. 2021, theorem 1; an Euler or a Heun step is exact here)."""
    nodes = torch.tensor([*reversed(data.draw(times(schedule.t_min))), 0.0]).tolist()  # float32, as denoisers see them
    sampler = data.draw(samplers(choice, clip=False, variance="small", churn_noise=1.0))
    assert_marginals_are_kept(sampler, PointDenoiser(schedule, x_0), nodes)


@given(schedules(), st.data())
def test_large_variance_keeps_the_marginal_of_normal_data(schedule: Schedule, data: st.DataObject):
    """On variance-preserving paths (Ho et al. 2020, section 3.2)."""
    nodes = [*reversed(data.draw(times(schedule.t_min))), 0.0]
    assume(bool((schedule.rates(torch.tensor(nodes, dtype=torch.float64)).std() - 1).abs().max() < 1e-9))
    states = marginals(DDPM(steps=1, variance="large"), NormalDenoiser(schedule, 0.0), nodes, (0.0, 1.0))
    for _, mean, std in states[:-1]:
        assert (mean, std) == pytest.approx((0, 1), abs=1e-5)
    alpha = float(schedule.rates(torch.tensor(nodes[-2], dtype=torch.float64)).alpha)
    assert states[-1] == pytest.approx((0, 0, alpha), abs=1e-5)  # the expected image, to which no noise is added


@MANY
@given(st.just(1.0) | st.floats(0, 1), schedules(), st.data())
def test_eta_is_the_share_of_the_posterior_deviation(eta: float, schedule: Schedule, data: st.DataObject):
    """Song et al. 2021, eq. 16."""
    s, *_, t = data.draw(times(schedule.t_min))
    made: list[Tensor] = []
    noise = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    start = torch.zeros_like(noise)
    sampler, denoiser = DDIM(steps=1, eta=eta), PointDenoiser(schedule, 0.0)
    sampler.loop(denoiser, start, [t, s, 0.0], lambda _: noise, callback=lambda state: made.append(state.x_t))
    deviation = posterior(schedule, *torch.tensor([t, s], dtype=torch.float64)).variance.sqrt()
    assert float(made[1][1] - made[1][0]) == pytest.approx(eta * float(deviation), rel=1e-5, abs=1e-7)


def assert_marginals_are_kept(sampler: Sampler, denoiser: PointDenoiser, nodes: list[float]) -> None:
    """Mean alpha x_0 and deviation sigma at every node, within the rounding of x_t, which a step amplifies."""
    rates = denoiser.schedule.rates(torch.tensor(nodes[:-1], dtype=torch.float64))
    start = (float(rates.alpha[0] * denoiser.x_0), float(rates.sigma[0]))
    tolerance = 1e-6 * max(1.0, start[1]) * (1 + abs(denoiser.x_0) / float(rates.sigma[-1]))
    for t, mean, std in marginals(sampler, denoiser, nodes, start):
        alpha, sigma = denoiser.schedule.rates(torch.tensor(t, dtype=torch.float64))
        assert (mean, std) == pytest.approx((float(alpha * denoiser.x_0), float(sigma)), abs=tolerance)
