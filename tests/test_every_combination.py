"""Every schedule x predict x loss_on x sampler x grid: one training step and three sampling steps, all finite."""

from dataclasses import replace
from functools import cache
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from choices import choices, make
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.forward_process import noise_batch
from ddpm_lightning.diffusion.objective import Objective
from ddpm_lightning.diffusion.target import Target

IMAGES = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
WAYS_TO_SAMPLE = list(product(choices("sampler"), choices("grid")))
MODELS = list(product(choices("schedule"), choices("predict"), choices("loss_on")))


class Network(nn.Module):
    """A convolution, shifted by the noise level."""

    num_classes = None

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.conditioning = target.conditioning
        self.conv = nn.Conv2d(1, target.output_channels(1), 3, padding=1)
        self.level = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor | None = None) -> Tensor:
        return self.conv(x) + self.level * noise_level[:, None, None, None]


@cache
def shared(group: str, choice: str):
    """The object of a choice, created once because no test changes it."""
    return make(group, choice)


def trained(schedule: str, predict: str, loss_on: str) -> Denoiser:
    """A denoiser after a training step on times from the schedule's first to (nearly) its last."""
    schedule, predict, loss_on = shared("schedule", schedule), shared("predict", predict), shared("loss_on", loss_on)
    objective = Objective(loss_on, shared("loss", "mse"), shared("weighting", "constant"))
    torch.manual_seed(0)
    denoiser = Denoiser(Network(predict), schedule, predict)
    optimizer = torch.optim.SGD(denoiser.parameters(), lr=1e-3)
    t = shared("timesteps", "stratified").times(torch.tensor([0.0, 0.3, 0.7, 0.9975]), schedule)
    batch = noise_batch(schedule, IMAGES, torch.randn(IMAGES.shape), t)
    loss = objective(denoiser(batch.x_t, t), batch)
    loss.mean().backward()
    gradients = [p.grad for p in denoiser.parameters()]
    optimizer.step()
    assert loss.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(p.isfinite().all() for p in denoiser.parameters())
    return denoiser.eval()


@pytest.mark.parametrize(("schedule", "predict", "loss_on"), MODELS)
def test_it_trains_and_samples_without_nan_or_inf(schedule, predict, loss_on):
    denoiser = trained(schedule, predict, loss_on)
    noise = torch.randn(4, *IMAGES.shape)
    for name, grid in WAYS_TO_SAMPLE:
        states = []
        sampler = replace(shared("sampler", name), steps=3, grid=shared("grid", grid))
        samples = sampler(denoiser, noise[3], noise.__getitem__, callback=states.append)
        parts = [part for state in states for part in (state.x_t, *state.prediction[:2])]
        where = f"sampler={name} grid={grid}"
        assert samples.isfinite().all() and samples.abs().max() <= 1, where
        assert all(part.isfinite().all() for part in parts), where
        assert len(states) == 3, where


@pytest.mark.parametrize(("schedule", "predict"), list(product(choices("schedule"), choices("predict"))))
def test_only_predicted_noise_without_signal_is_refused(schedule, predict):
    """And only if sampling is configured to start there: by default every target starts at a time at which it works."""
    schedule, target = shared("schedule", schedule), shared("predict", predict)
    denoiser = Denoiser(Network(target), schedule, target)
    refused = predict == "noise" and float(schedule.rates(torch.ones((), dtype=torch.float64)).alpha) == 0
    for name, grid in WAYS_TO_SAMPLE:
        sampler = replace(shared("sampler", name), steps=3, grid=shared("grid", grid))
        assert len(sampler.times(denoiser)) == 4
        late = replace(sampler, t_max=1.0)
        if refused:
            with pytest.raises(ValueError, match="predicted noise says nothing about the image at t = 1"):
                late.times(denoiser)
        else:
            assert late.times(denoiser)[0] == 1.0


def test_the_schedules_include_one_without_signal():
    end = torch.ones((), dtype=torch.float64)
    assert "flow" in [name for name in choices("schedule") if shared("schedule", name).rates(end).alpha == 0]
