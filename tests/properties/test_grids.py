"""Every grid, on every schedule, from any start: times that decrease to 0, or a refusal that names the option."""

from itertools import pairwise

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.samplers.grid import Grid
from properties.strategies import MANY, grids, schedules

T_MAX = st.just(1.0) | st.floats(0.01, 1)


def times_or_refusal(grid: Grid, schedule: Schedule, steps: int, t_max: float) -> list[float] | str:
    try:
        return grid(schedule, steps, t_max)
    except ValueError as error:
        return str(error)


@given(grids(), schedules(), st.integers(1, 100), T_MAX)
def test_times_decrease_from_t_max_to_zero(grid: Grid, schedule: Schedule, steps: int, t_max: float):
    times = times_or_refusal(grid, schedule, steps, t_max)
    assume(not isinstance(times, str))
    assert (len(times), times[0], times[-1]) == (steps + 1, t_max, 0)
    assert all(s < t for t, s in pairwise(times))


@given(grids(), schedules(), st.integers(1, 100), T_MAX)
def test_a_refusal_names_the_grid_and_fewer_steps_help(grid: Grid, schedule: Schedule, steps: int, t_max: float):
    refusal = times_or_refusal(grid, schedule, steps, t_max)
    assume(isinstance(refusal, str))
    assert f"grid={grid.name}" in refusal and "sampler.steps" in refusal
    assert isinstance(times_or_refusal(grid, schedule, 1, t_max), list)


@MANY
@given(grids(), schedules(), st.sampled_from([3, 2]), st.floats(0.01, 1))
def test_a_few_steps_always_fit(grid: Grid, schedule: Schedule, steps: int, t_max: float):
    """If the log SNR falls between t_min and t_max, that is, if this is not all a plateau."""
    assume(3 * schedule.t_min < t_max)
    early, late = schedule.log_snr(torch.tensor([schedule.t_min, t_max], dtype=torch.float64))
    assume(early > late + 0.1)
    assert len(grid(schedule, steps, t_max)) == steps + 1
