"""The times a sampler stops at."""

import math

import pytest
import torch
from ddpm_lightning.diffusion.parameterization import Noise

from ddpm_lightning.diffusion.schedule import CosineSchedule, LinearSchedule
from ddpm_lightning.samplers.ddim import DDIM, ddim
from ddpm_lightning.samplers.ddpm import DDPM, ddpm
from ddpm_lightning.samplers.sampler import check_grid, time_grid


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50, 999, 1000])
@pytest.mark.parametrize("t_max", [1.0, 0.98])
def test_the_grid_falls_evenly_from_t_max_to_zero(steps, t_max):
    times = time_grid(steps, t_max, 1000)
    assert times[-1] == 0
    assert times == pytest.approx([t_max * (1 - i / steps) for i in range(steps + 1)])
    check_grid(times)


def test_the_full_grid_has_the_nodes_of_training():
    schedule = LinearSchedule()
    times = torch.tensor(time_grid(1000, 1.0, 1000)[:-1])
    assert torch.equal(schedule.log_alpha_bar(times), schedule.log_alpha_bar_nodes[1:].flip(0))


@pytest.mark.parametrize("sampler", [DDIM, DDPM])
@pytest.mark.parametrize("steps", [0, -1, 61])
def test_a_number_of_steps_that_the_schedule_does_not_have_is_refused(sampler, steps, make_denoiser):
    with pytest.raises(ValueError, match=rf"sampler.steps must lie in 1..60 .*, not {steps}"):
        sampler(steps)(make_denoiser(Noise(), CosineSchedule(60)), torch.zeros(1, 1, 8, 8), torch.zeros_like)


@pytest.mark.parametrize("t_max", [0.0, -1.0, 1.5])
def test_a_first_time_outside_the_schedule_is_refused(t_max, make_denoiser):
    with pytest.raises(ValueError, match=r"sampler.t_max must lie in \(0, 1\]"):
        DDIM(3, t_max=t_max).times(make_denoiser(Noise()))


def test_the_samplers_own_first_time_comes_before_the_denoisers(make_denoiser):
    denoiser = make_denoiser(Noise(t_max=0.98))
    assert DDIM(3).times(denoiser)[0] == 0.98
    assert DDIM(3, t_max=0.5).times(denoiser)[0] == 0.5


@pytest.mark.parametrize("loop", [ddim, ddpm])
@pytest.mark.parametrize(
    "times",
    [[], [0.0], [1.0, 0.5], [1.1, 0.0], [0.5, 0.7, 0.0], [0.5, 0.5, 0.0], [math.nan, 0.0], [1.0, math.nan, 0.0]],
    ids=str,
)
def test_a_grid_that_does_not_fall_to_zero_is_refused(loop, times, make_denoiser):
    with pytest.raises(ValueError, match="a time grid must decrease from at most 1 to 0"):
        loop(make_denoiser(Noise()), torch.zeros(1, 1, 8, 8), times, torch.zeros_like)
