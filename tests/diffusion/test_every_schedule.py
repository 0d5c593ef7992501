"""Properties of every choice in conf/schedule, with many steps and few, with and without zero terminal SNR."""

import math

import pytest
import torch
from hydra.utils import get_class, instantiate

from choices import choices, config_of, make
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.schedules.discrete import DiscreteSchedule

CHOICES = choices("schedule")


def cases(choice: str) -> list[tuple[str, dict]]:
    """A choice's sets of options: its YAML's, few steps, zero terminal SNR, another t_min, a linear log sigma."""
    options = config_of("schedule", choice)
    if "num_steps" not in options:
        changes = [{}, {"t_min": 0.1}, {"t_min": 1 / 3}, {"rho": None}]
        return [(choice, change) for change in changes if change.keys() <= options.keys()]
    found = [{"num_steps": num_steps} for num_steps in (1, 2, 3, 7, 50, 1000)]
    if "scale_betas" in options:
        found = [change | {"scale_betas": change["num_steps"] > 20} for change in found]
    if "zero_terminal_snr" in options:
        found += [change | {"zero_terminal_snr": True} for change in found if change["num_steps"] > 1]
    return [(choice, change) for change in found]


CASES = [case for choice in CHOICES for case in cases(choice)]


def named(case: tuple[str, dict]) -> str:
    return "-".join([case[0], *map(str, case[1].values())])


@pytest.fixture(scope="module", params=CASES, ids=named)
def schedule(request: pytest.FixtureRequest) -> Schedule:
    choice, options = request.param
    return make("schedule", choice, **options)


@pytest.fixture(scope="module", params=[case for case in CASES if "num_steps" in case[1]], ids=named)
def table(request: pytest.FixtureRequest) -> DiscreteSchedule:
    choice, options = request.param
    return make("schedule", choice, **options)


def times(schedule: Schedule) -> torch.Tensor:
    """From t_min to 1: all nodes but 0, and three times between any two."""
    if isinstance(schedule, DiscreteSchedule):
        steps = schedule.num_steps
        return torch.arange(4, 4 * steps + 1, dtype=torch.float64) / (4 * steps)
    return torch.linspace(schedule.t_min, 1, 1001, dtype=torch.float64)


def has_plateau(schedule: Schedule) -> bool:
    return isinstance(schedule, DiscreteSchedule) and not (schedule.log_alpha_bar_nodes.diff() < 0).all()


def test_the_expected_choices_exist():
    assert {"linear", "cosine", "quadratic", "sigmoid", "cosine_rates", "linear_rates", "flow", "edm"} <= {*CHOICES}


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choices_options_are_its_classs_defaults(choice):
    ours, defaults = make("schedule", choice), instantiate({"_target_": config_of("schedule", choice)._target_})
    t = torch.linspace(0, 1, 3001, dtype=torch.float64)
    assert ours.t_min == defaults.t_min
    assert all(map(torch.equal, ours.rates(t), defaults.rates(t)))


def test_the_image_is_at_time_zero(schedule):
    zero = torch.zeros(1)
    assert schedule.rates(zero) == (torch.ones(1), zero)
    assert schedule.log_snr(zero).item() == math.inf


def test_log_snr_never_rises_and_noise_starts_at_once(schedule, request):
    t = times(schedule)
    log_snr, rates = schedule.log_snr(t), schedule.rates(t)
    assert (log_snr.diff() <= 0).all()
    assert log_snr[0] > log_snr[-1] or has_plateau(schedule) or len(t) == 1
    assert (rates.alpha >= 0).all()
    assert (rates.sigma > 0).all()
    assert rates.alpha[0] > 0
    assert log_snr[:-1].isfinite().all()
    assert (log_snr[-1] == -math.inf) == (rates.alpha[-1] == 0)
    if isinstance(schedule, DiscreteSchedule):
        _, options = request.node.callspec.params["schedule"]
        assert (rates.alpha[-1] == 0) == options.get("zero_terminal_snr", False)


def test_between_zero_and_the_first_time_log_snr_falls(schedule):
    t = torch.linspace(0, schedule.t_min, 50, dtype=torch.float64)
    assert (schedule.log_snr(t).diff() < 0).all()
    assert (schedule.rates(t).sigma.diff() > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rates_are_finite_numbers(schedule, dtype):
    t = torch.cat([torch.zeros(1), times(schedule)]).to(dtype)
    rates = schedule.rates(t)
    assert rates.alpha.isfinite().all() and rates.sigma.isfinite().all()
    assert not schedule.log_snr(t).isnan().any()
    assert rates.sigma[1:].min() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rates_of_a_table_are_on_the_unit_circle(table, dtype):
    t = torch.cat([torch.zeros(1), times(table)]).to(dtype)
    rates = table.rates(t)
    torch.testing.assert_close(rates.alpha**2 + rates.sigma**2, torch.ones_like(t), rtol=1e-6, atol=0)


def test_log_snr_is_the_ratio_of_the_rates(schedule):
    t = times(schedule)
    rates = schedule.rates(t)
    torch.testing.assert_close(schedule.log_snr(t), 2 * (rates.alpha / rates.sigma).log(), rtol=1e-9, atol=1e-9)


def test_float32_nodes_are_the_nodes(table):
    """Without snapping, float32 rounding of t would move log alpha_bar by up to 1e-5 of a step."""
    nodes = torch.arange(1, table.num_steps + 1) / table.num_steps
    assert torch.equal(table.log_alpha_bar(nodes), table.log_alpha_bar_nodes[1:])
    assert torch.equal(table.log_alpha_bar(nodes.double()), table.log_alpha_bar_nodes[1:])


def test_the_time_of_a_log_snr_has_that_log_snr(schedule):
    """And it is the original time if the schedule has no plateau."""
    t = times(schedule)
    found = schedule.time_of_log_snr(schedule.log_snr(t))
    assert found.min() >= schedule.t_min
    assert found.max() <= 1
    torch.testing.assert_close(schedule.log_snr(found), schedule.log_snr(t), rtol=1e-9, atol=1e-9)
    if not has_plateau(schedule):
        torch.testing.assert_close(found, t, rtol=0, atol=1e-9)


def test_float32_times_come_back_from_their_log_snr(schedule):
    """Within the rounding of t and of the log SNR, translated into time by the log SNR's slope."""
    t = times(schedule)[1:-1]
    log_snr = schedule.log_snr(t.float())
    step = log_snr.abs().double() * torch.finfo(torch.float32).eps
    moved = schedule.time_of_log_snr(log_snr.double() - step) - schedule.time_of_log_snr(log_snr.double() + step)
    assert ((schedule.time_of_log_snr(log_snr).double() - t).abs() <= moved + 2e-7).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_log_snr_out_of_range_has_the_nearest_time(schedule, dtype):
    first, last = schedule.log_snr(torch.tensor([schedule.t_min, 1.0], dtype=dtype))
    beyond = torch.tensor([torch.inf, 1e9, first + 1, last - 1, -1e9, -torch.inf], dtype=dtype)
    found = schedule.time_of_log_snr(beyond)
    expected = torch.tensor([schedule.t_min] * 3 + [1.0] * 3, dtype=dtype)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(), (1,), (6,), (6, 1), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_answers_have_the_shape_and_dtype_of_t(path, shape, dtype):
    flat = torch.linspace(0.1, 0.9, math.prod(shape), dtype=dtype)
    t = flat.reshape(shape)
    log_snr = path.log_snr(flat)
    expected = [*path.rates(flat), log_snr, path.time_of_log_snr(log_snr)]
    ours = [*path.rates(t), path.log_snr(t), path.time_of_log_snr(log_snr.reshape(shape))]
    for answer, of_the_flat in zip(ours, expected, strict=True):
        assert answer.shape == shape
        assert answer.dtype == dtype
        assert torch.equal(answer.flatten(), of_the_flat)


def test_the_times_given_are_not_modified(path):
    t = torch.linspace(0, 1, 7)
    rates = path.rates(t)
    rates.alpha.fill_(9), rates.sigma.fill_(9), path.log_snr(t).fill_(9)
    assert torch.equal(t, torch.linspace(0, 1, 7))
    assert not torch.equal(path.rates(t).sigma, rates.sigma)


def test_a_schedule_has_no_state(path):
    assert path.state_dict() == {}


@pytest.mark.parametrize("t_min", [0.0, -0.1, 1.0, 1.5, math.nan])
@pytest.mark.parametrize("choice", [choice for choice in CHOICES if "t_min" in config_of("schedule", choice)])
def test_a_t_min_outside_the_path_is_refused(choice, t_min):
    with pytest.raises(ValueError, match=r"schedule.t_min must be"):
        get_class(config_of("schedule", choice)._target_)(t_min=t_min)
