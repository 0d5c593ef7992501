import math

import pytest
import torch
from diffusers import DDPMScheduler

from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.schedules.discrete import DiscreteSchedule
from ddpm_lightning.diffusion.schedules.limited import LimitedLinearSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.schedules.quadratic import QuadraticSchedule
from ddpm_lightning.diffusion.schedules.sigmoid import SigmoidSchedule


def betas_of(schedule: DiscreteSchedule) -> torch.Tensor:
    return -schedule.log_alpha_bar_nodes.diff().expm1()


def alpha_bar_of(schedule: DiscreteSchedule, t: torch.Tensor) -> torch.Tensor:
    """alpha^2 at t, after checking that it is 1 - sigma^2."""
    alpha, sigma = schedule.rates(t.double())
    torch.testing.assert_close(alpha**2, 1 - sigma**2, rtol=0, atol=1e-12)
    return alpha**2


ORACLES = {
    "linear-1000": (LinearSchedule(), DDPMScheduler(1000, beta_schedule="linear")),
    "linear-200-unscaled": (LinearSchedule(200, scale_betas=False), DDPMScheduler(200, beta_schedule="linear")),
    "linear-200-scaled": (
        LinearSchedule(200),
        DDPMScheduler(200, beta_start=5e-4, beta_end=0.1, beta_schedule="linear"),
    ),
    "quadratic-1000": (QuadraticSchedule(), DDPMScheduler(1000, beta_schedule="scaled_linear")),
    "quadratic-stable-diffusion": (
        QuadraticSchedule(beta_start=0.00085, beta_end=0.012),
        DDPMScheduler(1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
    ),
    "quadratic-200-unscaled": (
        QuadraticSchedule(200, scale_betas=False),
        DDPMScheduler(200, beta_schedule="scaled_linear"),
    ),
    "quadratic-200-scaled": (
        QuadraticSchedule(200),
        DDPMScheduler(200, beta_start=5e-4, beta_end=0.1, beta_schedule="scaled_linear"),
    ),
    "cosine-1000": (CosineSchedule(), DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2")),
    "cosine-50": (CosineSchedule(50), DDPMScheduler(50, beta_schedule="squaredcos_cap_v2")),
}


@pytest.mark.parametrize(("ours", "oracle"), ORACLES.values(), ids=ORACLES.keys())
class TestAgainstDiffusers:
    def test_betas(self, ours, oracle):
        torch.testing.assert_close(betas_of(ours).float(), oracle.betas, rtol=1e-5, atol=1e-7)

    def test_alpha_bar_at_every_node(self, ours, oracle):
        t = torch.arange(1, ours.num_steps + 1) / ours.num_steps
        alpha_bars = alpha_bar_of(ours, t).float()
        torch.testing.assert_close(alpha_bars, oracle.alphas_cumprod, rtol=1e-4, atol=1e-5)
        assert (alpha_bars - oracle.alphas_cumprod).abs().max() < 1e-5


def test_linear_is_the_product_of_the_published_betas():
    alpha_bar, t = 1.0, torch.arange(1001) / 1000
    ours = alpha_bar_of(LinearSchedule(), t)
    assert ours[0] == 1
    for i in range(1, 1001):
        alpha_bar *= 1 - (1e-4 + (0.02 - 1e-4) * (i - 1) / 999)
        assert ours[i].item() == pytest.approx(alpha_bar, rel=1e-10)


def test_cosine_is_the_published_function_up_to_the_clip():
    t = torch.arange(0, 991, dtype=torch.float64) / 1000
    f = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(alpha_bar_of(CosineSchedule(), t), f / f[0], rtol=1e-10, atol=0)
    assert betas_of(CosineSchedule()).max().item() == pytest.approx(0.999)
    assert alpha_bar_of(CosineSchedule(), torch.ones(1)).item() == pytest.approx(2.43e-9, rel=1e-2)


def test_quadratic_is_the_product_of_evenly_spaced_roots():
    alpha_bar, ours = 1.0, alpha_bar_of(QuadraticSchedule(), torch.arange(1001, dtype=torch.float64) / 1000)
    for i in range(1, 1001):
        alpha_bar *= 1 - (0.01 + (0.02**0.5 - 0.01) * (i - 1) / 999) ** 2
        assert ours[i].item() == pytest.approx(alpha_bar, rel=1e-10)


@pytest.mark.parametrize(("start", "end", "tau"), [(-3.0, 3.0, 1.0), (0.0, 3.0, 0.3), (-3.0, 3.0, 1.1)])
def test_sigmoid_is_the_published_function_up_to_the_clip(start, end, tau):
    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    ours = alpha_bar_of(SigmoidSchedule(start=start, end=end, tau=tau), torch.arange(1001, dtype=torch.float64) / 1000)
    v_start, v_end = sigmoid(start / tau), sigmoid(end / tau)
    for i in range(1000):
        expected = (v_end - sigmoid((i / 1000 * (end - start) + start) / tau)) / (v_end - v_start)
        assert ours[i].item() == pytest.approx(expected, rel=1e-9)
    assert ours[1000].item() == pytest.approx(0.001 * ours[999].item())


def test_sigmoid_by_default_is_symmetric_about_the_middle():
    t = torch.linspace(0, 0.5, 301, dtype=torch.float64).mul(1000).round() / 1000
    schedule = SigmoidSchedule()
    torch.testing.assert_close(alpha_bar_of(schedule, t)[1:], 1 - alpha_bar_of(schedule, 1 - t)[1:], rtol=0, atol=1e-9)


@pytest.mark.parametrize("options", [{"tau": 0.0}, {"tau": -1.0}, {"start": 3.0}, {"start": 2.0, "end": -2.0}], ids=str)
def test_a_sigmoid_that_does_not_fall_is_refused(options):
    with pytest.raises(ValueError, match=r"schedule.tau above 0 and schedule.start below schedule.end"):
        SigmoidSchedule(**options)


@pytest.mark.parametrize("make", [CosineSchedule, SigmoidSchedule])
@pytest.mark.parametrize("max_beta", [-0.1, 0.0, 1.0, 1.5, math.nan])
def test_a_max_beta_outside_zero_to_one_is_refused(make, max_beta):
    with pytest.raises(ValueError, match=f"schedule.max_beta must lie between 0 and 1, not {max_beta}"):
        make(max_beta=max_beta)


@pytest.mark.parametrize("make", [LinearSchedule, QuadraticSchedule, LimitedLinearSchedule])
@pytest.mark.parametrize(("start", "end"), [(-0.1, 0.02), (0.0, 0.02), (1e-4, -0.02)])
@pytest.mark.parametrize("scale_betas", [False, True])
def test_invalid_first_and_last_betas_are_refused(make, start, end, scale_betas):
    message = f"schedule.beta_start must be above 0 and schedule.beta_end at least 0, not {start} and {end}"
    with pytest.raises(ValueError, match=message):
        make(beta_start=start, beta_end=end, scale_betas=scale_betas)


@pytest.mark.parametrize("make", [LinearSchedule, QuadraticSchedule])
def test_betas_may_fall_to_zero(make):
    betas = betas_of(make(beta_start=0.02, beta_end=0.0))
    assert (betas.diff() < 0).all()
    assert betas[[0, -1]].tolist() == pytest.approx([0.02, 0.0])


@pytest.mark.parametrize("num_steps", [50, 200, 4000])
def test_scaled_linear_ends_in_noise_for_any_number_of_steps(num_steps):
    assert LinearSchedule(num_steps).rates(torch.ones(1)).alpha.item() < 0.01


def test_unscaled_linear_keeps_signal():
    schedule = LinearSchedule(200, scale_betas=False)
    assert schedule.rates(torch.ones(1)).alpha.item() == pytest.approx(0.36, abs=0.005)


def test_log_snr_falls_strictly(schedule):
    t = torch.linspace(1 / schedule.num_steps, 1, 2777, dtype=torch.float64)
    assert (schedule.log_snr(t).diff() < 0).all()


def test_between_nodes_log_alpha_bar_is_linear(schedule):
    low, high = schedule.log_alpha_bar_nodes[[400, 401]]
    t = torch.tensor([400.25, 400.5, 400.75], dtype=torch.float64) / 1000
    expected = low + (high - low) * torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    torch.testing.assert_close(schedule.log_alpha_bar(t), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    "betas",
    [
        torch.tensor([]),
        torch.tensor([0.0, 0.1]),
        torch.tensor([0.1, -0.1]),
        torch.tensor([1.0]),
        torch.tensor([0.1, math.nan]),
        torch.tensor([[0.1]]),
        torch.tensor(0.1),
    ],
)
def test_invalid_betas_are_refused(betas):
    with pytest.raises(ValueError, match=r"betas must be a non-empty vector of numbers in \[0, 1\), the first above 0"):
        DiscreteSchedule(betas)


@pytest.mark.parametrize("make", [LinearSchedule, CosineSchedule, QuadraticSchedule, SigmoidSchedule])
@pytest.mark.parametrize("num_steps", [0, -3])
def test_fewer_than_one_step_is_refused(make, num_steps):
    with pytest.raises(ValueError, match=f"num_steps must be at least 1, not {num_steps}"):
        make(num_steps)


@pytest.mark.parametrize("make", [LinearSchedule, QuadraticSchedule])
def test_too_few_scaled_steps_are_refused_with_the_minimum(make):
    message = r"num_steps=20 scales the largest beta to 1, .* use more than 20 steps or schedule.scale_betas=false"
    for ends in ((1e-4, 0.02), (0.02, 1e-4)):
        with pytest.raises(ValueError, match=message):
            make(20, *ends)
    assert make(21).num_steps == 21
    assert make(20, scale_betas=False).num_steps == 20


def test_one_step_is_a_schedule():
    schedule = CosineSchedule(1)
    assert alpha_bar_of(schedule, torch.ones(1)).item() == pytest.approx(0.001)
