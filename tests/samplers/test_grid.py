"""The times of every grid of conf/grid."""

import math
from itertools import pairwise

import pytest
import torch

from choices import choices, make
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.target import Noise
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.grid import SPACING_FLOOR, KarrasGrid, UniformGrid
from samplers.every_sampler import for_every_sampler

every_grid = pytest.mark.parametrize("grid", choices("grid"))
every_schedule = pytest.mark.parametrize("schedule", choices("schedule"))
every_number = pytest.mark.parametrize("steps", [1, 2, 3, 7, 50, 1000])
EXAMPLE = {"log_snr": lambda log_snr: log_snr, "karras": lambda log_snr: (-log_snr / 14).exp()}
"""What is evenly spaced on grids of noise levels, as a function of the log SNR; rho is 7."""


def times_of(grid: str, schedule: str, steps: int, t_max: float = 1.0) -> list[float]:
    return make("grid", grid)(make("schedule", schedule), steps, t_max)


@every_grid
@every_schedule
@every_number
def test_times_decrease_from_exactly_t_max_to_exactly_zero(grid, schedule, steps):
    for t_max in (1.0, 0.98, 0.3):
        times = times_of(grid, schedule, steps, t_max)
        assert len(times) == steps + 1
        assert times[0] == t_max
        assert times[-1] == 0.0
        assert all(t > s for t, s in pairwise(times))
        assert all(type(t) is float for t in times)


@every_schedule
@every_number
@pytest.mark.parametrize("t_max", [1.0, 0.98])
def test_uniform_times_are_evenly_spaced(schedule, steps, t_max):
    expected = torch.linspace(t_max, 0, steps + 1, dtype=torch.float64).tolist()
    assert times_of("uniform", schedule, steps, t_max) == pytest.approx(expected, abs=1e-12)


@every_schedule
@every_number
@pytest.mark.parametrize("t_max", [1.0, 0.98])
def test_quadratic_times_have_evenly_spaced_roots(schedule, steps, t_max):
    roots = [math.sqrt(t) for t in times_of("quadratic", schedule, steps, t_max)]
    last = math.sqrt(make("schedule", schedule).t_min)
    expected = torch.linspace(math.sqrt(t_max), last, steps, dtype=torch.float64).tolist()
    assert roots == pytest.approx([*expected, 0.0], abs=1e-12)


@every_schedule
def test_more_uniform_times_than_training_draws_are_refused(schedule):
    most = round(1 / make("schedule", schedule).t_min)
    assert len(times_of("uniform", schedule, most, 0.98)) == most + 1
    with pytest.raises(ValueError, match=f"sampler.steps={most + 1} is too many for grid=uniform.* at most {most}"):
        times_of("uniform", schedule, most + 1, 0.98)


@pytest.mark.parametrize("grid", EXAMPLE)
@every_schedule
@pytest.mark.parametrize("steps", [2, 3, 7, 50, 1000])
@pytest.mark.parametrize("t_max", [1.0, 0.7])
def test_noise_levels_are_evenly_spaced_down_to_t_min(grid, schedule, steps, t_max):
    """The step from t_max may be longer: there the levels begin at a log SNR of -10, if x holds less signal still.

    The last level is that of t_min, which a schedule with a plateau there has at later times too.
    """
    schedule = make("schedule", schedule)
    times = torch.tensor(make("grid", grid)(schedule, steps, t_max)[:-1], dtype=torch.float64)
    start, end = schedule.log_snr(torch.tensor([t_max, schedule.t_min], dtype=torch.float64))
    spaced = EXAMPLE[grid]
    first, last = spaced(start.clamp(min=SPACING_FLOOR)), spaced(end)
    expected = torch.linspace(float(first), float(last), steps, dtype=torch.float64)
    torch.testing.assert_close(spaced(schedule.log_snr(times))[1:], expected[1:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
@pytest.mark.parametrize("steps", [2, 18, 1000])
def test_karras_times_are_those_of_the_paper(rho, steps):
    """Karras et al. 2022, eq. 5, for sigma from 80 to 0.002, for any rho of the path, and then 0."""
    for own in ("7.0", "3.0", "null"):
        schedule = make("schedule", "edm", f"schedule.rho={own}")
        times = torch.tensor(KarrasGrid(rho)(schedule, steps, 1.0), dtype=torch.float64)
        sigmas = schedule.rates(times).sigma
        high, low = 80 ** (1 / rho), 0.002 ** (1 / rho)
        expected = [(high + i / (steps - 1) * (low - high)) ** rho for i in range(steps)] + [0.0]
        torch.testing.assert_close(sigmas, torch.tensor(expected, dtype=torch.float64), rtol=1e-8, atol=0)


def test_levels_begin_at_minus_ten_where_there_is_no_signal():
    """Also where t_max leaves no signal at all, as on the straight path at t = 1."""
    schedule = make("schedule", "flow")
    times = torch.tensor(make("grid", "log_snr")(schedule, 11, 1.0), dtype=torch.float64)
    end = float(schedule.log_snr(torch.tensor(schedule.t_min, dtype=torch.float64)))
    spacing = (end - SPACING_FLOOR) / 10
    assert float(schedule.log_snr(times[1])) == pytest.approx(SPACING_FLOOR + spacing)


def test_the_full_grid_has_the_nodes_of_training():
    schedule = LinearSchedule()
    times = torch.tensor(UniformGrid()(schedule, 1000, 1.0)[:-1])
    assert torch.equal(schedule.log_alpha_bar(times), schedule.log_alpha_bar_nodes[1:].flip(0))


@every_grid
def test_too_many_steps_on_a_short_path_are_refused(grid):
    """From t_min itself there is a single node above 0, to every grid that ends there, and more to the uniform one."""
    schedule = CosineSchedule(60)
    shortest = schedule.t_min
    assert make("grid", grid)(schedule, 1, shortest) == [shortest, 0.0]
    if grid != "uniform":
        with pytest.raises(ValueError, match=rf"grid={grid} does not have 2 different times .* or grid=uniform"):
            make("grid", grid)(schedule, 2, shortest)
    else:
        assert len(make("grid", grid)(schedule, 2, shortest)) == 3


@every_grid
@pytest.mark.parametrize("steps", [0, -1])
def test_a_grid_without_steps_is_refused(grid, steps):
    with pytest.raises(ValueError, match=f"sampler.steps must be at least 1, not {steps}"):
        make("grid", grid)(CosineSchedule(), steps, 1.0)


@every_grid
@pytest.mark.parametrize("t_max", [0.0, -1.0, 1.5, math.nan])
def test_a_first_time_outside_the_schedule_is_refused(grid, t_max):
    with pytest.raises(ValueError, match=r"sampler.t_max must lie in \(0, 1\]"):
        make("grid", grid)(CosineSchedule(), 3, t_max)


@pytest.mark.parametrize("rho", [0.0, -7.0])
def test_a_rho_of_zero_or_less_is_refused(rho):
    with pytest.raises(ValueError, match=f"grid.rho must be above 0, not {rho}"):
        KarrasGrid(rho)


@for_every_sampler(steps=3)
@every_grid
def test_a_samplers_t_max_comes_before_the_denoisers(sampler, grid, make_denoiser):
    denoiser = make_denoiser(Noise(t_max=0.97))
    for t_max, expected in ((None, 0.97), (0.5, 0.5)):
        placed = type(sampler)(**{**vars(sampler), "grid": make("grid", grid), "t_max": t_max})
        assert placed.times(denoiser) == make("grid", grid)(denoiser.schedule, 3, expected)


@for_every_sampler(steps=3)
@pytest.mark.parametrize(
    "times",
    [[], [0.0], [1.0, 0.5], [1.1, 0.0], [0.5, 0.7, 0.0], [0.5, 0.5, 0.0], [math.nan, 0.0], [1.0, math.nan, 0.0]],
    ids=str,
)
def test_times_that_do_not_decrease_to_zero_are_refused(sampler, times, make_denoiser):
    with pytest.raises(ValueError, match="a time grid must decrease from at most 1 to 0"):
        sampler.loop(make_denoiser(Noise()), torch.zeros(1, 1, 8, 8), times, torch.zeros_like)


def test_any_times_that_decrease_to_zero_are_accepted(make_denoiser, start):
    times, seen = [0.9, 0.31, 0.3, 0.001, 0.0], []
    DDIM(2).loop(make_denoiser(Noise()), start, times, torch.zeros_like, callback=lambda s: seen.append(s.t))
    assert seen == times[:-1]
