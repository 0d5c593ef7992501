"""No combination of choices yields NaN or infinity, however near the ends of its path it works."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from choices import choices
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.forward_process import noise_batch
from ddpm_lightning.diffusion.loss import SquaredError
from ddpm_lightning.diffusion.objective import Objective
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Target
from ddpm_lightning.diffusion.timesteps import TimestepDistribution
from ddpm_lightning.diffusion.weighting import Weighting
from ddpm_lightning.samplers.sampler import Sampler, SamplerState
from properties.strategies import MANY, chosen, normals, samplers, schedules, times

LARGEST = 1 - 2.0**-24  # float32 below 1
UNIFORM = st.sampled_from([0.0, LARGEST]) | st.floats(0, LARGEST, width=32)


class Bounded(nn.Module):
    """A network without weights, whose output lies in [-1, 1] and depends on everything that it is given."""

    num_classes = None

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.conditioning = target.conditioning

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.tanh(x + noise_level[:, None, None, None])


@st.composite
def denoisers(draw: st.DrawFn, schedule: str | None = None) -> Denoiser:
    """Every target on a schedule, or on any."""
    target = draw(chosen("predict", t_max=None))
    return Denoiser(Bounded(target), draw(chosen("schedule", schedule)), target)


T_MAX = st.sampled_from([1.0, None]) | st.floats(0.01, 1)


def works(sampler: Sampler, denoiser: Denoiser) -> bool:
    """False for too many steps on so short a path, and where nothing can be predicted at t_max."""
    try:
        sampler.times(denoiser)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("schedule", choices("schedule"))
@pytest.mark.parametrize("sampler", choices("sampler"))
@settings(max_examples=20)
@given(st.data())
def test_samplers_stay_finite(schedule: str, sampler: str, data: st.DataObject):
    check_samples(data.draw(denoisers(schedule)), data.draw(samplers(sampler, t_max=data.draw(T_MAX))), data)


def check_samples(denoiser: Denoiser, sampler: Sampler, data: st.DataObject) -> None:
    assume(works(sampler, denoiser))
    states: list[SamplerState] = []
    noise = data.draw(normals(sampler.steps + 1, 2, 1, 2, 2)).float()
    samples = sampler(denoiser, noise[-1], noise.__getitem__, callback=states.append)
    assert all(part.isfinite().all() for state in states for part in (state.x_t, *state.prediction[:2]))
    assert samples.isfinite().all()
    assert not sampler.clip or samples.abs().max() <= 1 + 1e-6


@MANY
@given(denoisers(), chosen("loss_on"), chosen("weighting"), st.data())
def test_the_loss_is_finite(denoiser: Denoiser, loss_on: Target, weighting: Weighting, data: st.DataObject):
    t = torch.tensor(data.draw(times(denoiser.schedule.t_min)))
    assume(loss_on == denoiser.target or denoiser.predicts_at(t[-1].item()))
    x_0, eps = (data.draw(normals(len(t), 1, 2, 2)).float() for _ in range(2))
    batch = noise_batch(denoiser.schedule, x_0, eps, t)
    assert Objective(loss_on, SquaredError(), weighting)(denoiser(batch.x_t, t), batch).isfinite().all()


@given(chosen("timesteps"), schedules(), st.lists(UNIFORM, min_size=2).map(sorted))
def test_uniform_numbers_become_times_in_order(
    timesteps: TimestepDistribution, schedule: Schedule, uniform: list[float]
):
    t = timesteps.times(torch.tensor(uniform), schedule)
    assert (t.diff() >= 0).all()
    assert t[0] >= schedule.t_min * (1 - 1e-6) and t[-1] <= 1
