"""What holds for every choice of conf/schedule, with many steps and few, with zero terminal SNR and without."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from ddpm_lightning.diffusion.forward_process import posterior
from ddpm_lightning.diffusion.schedule import Schedule

CONF = Path(__file__).parents[2] / "conf" / "schedule"
CHOICES = {path.stem: OmegaConf.load(path) for path in sorted(CONF.glob("*.yaml"))}
CASES = [
    (name, num_steps, zero)
    for name, options in CHOICES.items()
    for num_steps in (1, 2, 3, 7, 50, 1000)
    for zero in (False, True)
    if not zero or ("zero_terminal_snr" in options and num_steps > 1)
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}{'-zero' * case[2]}")
def schedule(request: pytest.FixtureRequest) -> Schedule:
    name, num_steps, zero = request.param
    options = {"num_steps": num_steps}
    if "scale_betas" in CHOICES[name]:
        options["scale_betas"] = num_steps > 20
    if zero:
        options["zero_terminal_snr"] = True
    return instantiate(CHOICES[name], **options)


def times(schedule: Schedule) -> torch.Tensor:
    """All nodes but 0, and three times between any two."""
    steps = schedule.num_steps
    return torch.arange(4, 4 * steps + 1, dtype=torch.float64) / (4 * steps)


def test_the_choices_are_these():
    assert {"linear", "cosine", "quadratic", "sigmoid", "cosine_rates", "linear_rates"} <= CHOICES.keys()


@pytest.mark.parametrize("name", CHOICES)
def test_the_choices_options_are_the_classes_defaults(name):
    defaults = instantiate({"_target_": CHOICES[name]._target_})
    assert torch.equal(instantiate(CHOICES[name]).log_alpha_bar_nodes, defaults.log_alpha_bar_nodes)


def test_signal_never_grows_and_noise_starts_at_once(schedule):
    t = times(schedule)
    alpha_bar = schedule.alpha_bar(t)
    assert (alpha_bar.diff() <= 0).all()
    assert 0 < alpha_bar[0] < 1
    assert (alpha_bar[-1] == 0) == schedule.zero_terminal_snr
    assert (schedule.log_snr(t).diff() <= 0).all()
    assert schedule.alpha_bar(torch.zeros(1)).item() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rates_are_finite_numbers_on_the_unit_circle(schedule, dtype):
    t = torch.cat([torch.zeros(1), times(schedule)]).to(dtype)
    rates = schedule.rates(t)
    torch.testing.assert_close(rates.signal**2 + rates.noise**2, torch.ones_like(t), rtol=1e-6, atol=0)
    assert not schedule.log_snr(t).isnan().any()
    assert rates.noise[1:].min() > 0


def test_log_snr_is_the_ratio_of_the_rates(schedule):
    t = times(schedule)
    rates = schedule.rates(t)
    torch.testing.assert_close(schedule.log_snr(t), 2 * (rates.signal / rates.noise).log(), rtol=1e-9, atol=1e-9)


def test_float32_nodes_are_the_nodes(schedule):
    """Half a float32's rounding beside a node would move log alpha_bar by up to 1e-5 of a step: none is seen."""
    nodes = torch.arange(1, schedule.num_steps + 1) / schedule.num_steps
    assert torch.equal(schedule.log_alpha_bar(nodes), schedule.log_alpha_bar_nodes[1:])
    assert torch.equal(schedule.log_alpha_bar(nodes.double()), schedule.log_alpha_bar_nodes[1:])


def test_the_time_of_a_log_snr_has_that_log_snr(schedule):
    """And is that time where the schedule stands nowhere still."""
    t = times(schedule)
    found = schedule.time_of_log_snr(schedule.log_snr(t))
    assert found.min() >= 1 / schedule.num_steps
    assert found.max() <= 1
    torch.testing.assert_close(schedule.log_snr(found), schedule.log_snr(t), rtol=1e-9, atol=1e-9)
    if (schedule.log_alpha_bar_nodes.diff() < 0).all():
        torch.testing.assert_close(found, t, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_log_snr_beyond_reach_has_the_nearest_time(schedule, dtype):
    first, last = schedule.log_snr(torch.tensor([1 / schedule.num_steps, 1.0], dtype=dtype))
    beyond = torch.tensor([torch.inf, 1e9, first + 1, last - 1, -1e9, -torch.inf], dtype=dtype)
    found = schedule.time_of_log_snr(beyond)
    expected = torch.tensor([1 / schedule.num_steps] * 3 + [1.0] * 3, dtype=dtype)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_the_posterior_over_any_step_keeps_the_marginals(schedule):
    """Standing still and pure noise included: mean and variance of x_s come back from those of x_t."""
    t = times(schedule)
    later, earlier = torch.meshgrid(t[-60:], t[:60], indexing="ij")
    t, s = later[later > earlier], earlier[later > earlier]
    at_t, at_s, q = schedule.rates(t), schedule.rates(s), posterior(schedule, t, s)
    assert (q.variance >= 0).all()
    torch.testing.assert_close(q.image_weight + q.noisy_weight * at_t.signal, at_s.signal, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(q.noisy_weight**2 * at_t.noise**2 + q.variance, at_s.noise**2, rtol=1e-9, atol=1e-12)


def test_a_step_in_which_the_schedule_stands_still_changes_nothing():
    schedule = Schedule(torch.tensor([0.1, 0.2, 0.0, 0.0, 0.3], dtype=torch.float64))
    t, s = torch.tensor([0.8, 0.7, 0.75]), torch.tensor([0.4, 0.6, 0.45])
    q = posterior(schedule, t, s)
    assert torch.equal(q.image_weight.abs(), torch.zeros(3))
    assert torch.equal(q.noisy_weight, torch.ones(3))
    assert torch.equal(q.variance.abs(), torch.zeros(3))
