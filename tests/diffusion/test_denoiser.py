import copy

import pytest
import torch
from ddpm_lightning.diffusion.parameterization import Image, Noise, Velocity
from torch import nn

from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.forward_process import q_sample
from ddpm_lightning.diffusion.schedule import LinearSchedule

every_parameterization = pytest.mark.parametrize(
    "parameterization", [Noise(), Image(), Velocity()], ids=lambda p: p.name
)


class Recorder(nn.Module):
    """A network that answers with a fixed tensor and remembers its conditioning."""

    def __init__(self, conditioning: str, output: torch.Tensor) -> None:
        super().__init__()
        self.conditioning = conditioning
        self.answer = output

    def forward(self, x, noise_level, label=None):
        self.noise_level, self.label = noise_level, label
        return self.answer


@pytest.mark.parametrize(
    ("conditioning", "measure"),
    [
        ("time", lambda s, t: t),
        ("noise_variance", lambda s, t: 1 - s.alpha_bar(t)),
        ("log_snr", lambda s, t: s.log_snr(t)),
    ],
    ids=["time", "noise_variance", "log_snr"],
)
def test_the_network_gets_the_noise_level_in_the_measure_it_declares(schedule, conditioning, measure):
    network = Recorder(conditioning, torch.zeros(2, 1, 2, 2))
    t, label = torch.tensor([0.2, 0.9]), torch.tensor([3, 4])
    Denoiser(network, schedule, Noise())(torch.zeros(2, 1, 2, 2), t, label)
    torch.testing.assert_close(network.noise_level, measure(schedule, t))
    assert network.label is label


@pytest.mark.parametrize(("conditioning", "level"), [("time", 1.0), ("noise_variance", 1.0), ("log_snr", -20.0)])
def test_the_network_gets_a_finite_level_where_no_signal_is_left(conditioning, level):
    network = Recorder(conditioning, torch.zeros(2, 1, 2, 2))
    Denoiser(network, LinearSchedule(zero_terminal_snr=True), Image())(torch.zeros(2, 1, 2, 2), torch.ones(2))
    assert network.noise_level.tolist() == [level, level]


def test_an_unknown_measure_is_refused_with_the_choices(schedule):
    with pytest.raises(ValueError, match="unknown conditioning 'sigma': choose from time, noise_variance, log_snr"):
        Denoiser(Recorder("sigma", torch.zeros(1)), schedule, Noise())


@every_parameterization
def test_a_perfect_network_gives_back_image_and_noise(schedule, parameterization, generator):
    x_0, noise = torch.randn(2, 3, 1, 4, 4, generator=generator)
    t = torch.tensor([0.1, 0.5, 0.8])
    rates = schedule.rates(t)
    network = Recorder("time", parameterization.target(x_0, noise, rates))
    prediction = Denoiser(network, schedule, parameterization)(q_sample(x_0, noise, rates), t)
    torch.testing.assert_close(prediction.image, x_0, rtol=0, atol=2e-5)
    torch.testing.assert_close(prediction.noise, noise, rtol=0, atol=2e-5)


@every_parameterization
def test_arithmetic_is_float32_whatever_the_network_and_autocast_give(schedule, parameterization, generator):
    x_t, answer = torch.randn(2, 3, 1, 4, 4, generator=generator)
    t, rounded = torch.tensor([0.1, 0.5, 0.8]), answer.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        denoiser = Denoiser(Recorder("time", rounded), schedule, parameterization)
        ours = denoiser(x_t, t)
    assert denoiser.output(x_t, t).dtype == torch.float32
    expected = parameterization.invert(rounded.float(), x_t, schedule.rates(t))
    assert ours.image.dtype == ours.noise.dtype == torch.float32
    assert torch.equal(ours.image, expected.image)
    assert torch.equal(ours.noise, expected.noise)


def test_sampling_starts_where_the_parameterization_says(schedule):
    assert Denoiser(Recorder("time", torch.zeros(1)), schedule, Noise(t_max=0.97)).t_max == 0.97


def test_a_copy_asks_its_own_schedule(schedule):
    """An average of weights or a spawned process works on a copy."""
    denoiser = copy.deepcopy(Denoiser(Recorder("log_snr", torch.zeros(1, 1)), schedule, Noise()))
    denoiser.schedule.log_alpha_bar_nodes.mul_(2)
    t = torch.tensor([0.5])
    denoiser(torch.zeros(1, 1), t)
    assert denoiser.network.noise_level == denoiser.schedule.log_snr(t)
    assert denoiser.network.noise_level != schedule.log_snr(t)
