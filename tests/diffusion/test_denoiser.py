import copy

import pytest
import torch
from torch import nn

from choices import choices, make
from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.denoiser import Denoiser, first_estimate
from ddpm_lightning.diffusion.forward_process import q_sample
from ddpm_lightning.diffusion.schedules.edm import EDMSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.target import EDM, Image, Noise
from ddpm_lightning.diffusion.variance import LearnedRange

ANSWER = torch.zeros(2, 1, 2, 2)
X = torch.ones(2, 1, 2, 2)
T = torch.tensor([0.2, 0.9])


class Recorder(nn.Module):
    """A network that answers with a fixed tensor and remembers what it was given."""

    def __init__(self, answer: torch.Tensor = ANSWER, conditioning: str = "time", num_classes: int | None = None):
        super().__init__()
        self.answer, self.conditioning, self.num_classes = answer, conditioning, num_classes

    def forward(self, x, noise_level, label=None):
        self.x, self.noise_level, self.label = x, noise_level, label
        return self.answer


@pytest.mark.parametrize("conditioning", list(Conditioning))
def test_the_network_gets_the_level_in_the_measure_it_declares(path, conditioning):
    network = Recorder(conditioning=conditioning.value)
    Denoiser(network, path, Noise())(X, T)
    assert torch.equal(network.noise_level, conditioning.noise_level(path, T))


@pytest.mark.parametrize(
    ("conditioning", "level"), [("time", 1.0), ("noise_variance", 1.0), ("log_snr", -20.0), ("c_noise", 2.5)]
)
def test_the_network_gets_a_finite_level_without_signal(conditioning, level):
    network = Recorder(conditioning=conditioning)
    Denoiser(network, LinearSchedule(zero_terminal_snr=True), Image())(X, torch.ones(2))
    assert network.noise_level.tolist() == [level, level]


def test_an_unknown_measure_is_refused_with_the_choices(schedule):
    with pytest.raises(ValueError, match="unknown conditioning 'sigma': choose from time, noise_variance, log_snr"):
        Denoiser(Recorder(conditioning="sigma"), schedule, Noise())


def test_no_label_is_the_class_after_the_last(path):
    network = Recorder(num_classes=10)
    denoiser = Denoiser(network, path, Noise())
    denoiser(X, T, None)
    assert network.label.tolist() == [10, 10]
    assert network.label.dtype == torch.long
    label = torch.tensor([3, 10])
    denoiser(X, T, label)
    assert torch.equal(network.label, label)
    assert denoiser.num_classes == 10


def test_a_network_without_classes_gets_no_label(path):
    network = Recorder()
    denoiser = Denoiser(network, path, Noise())
    denoiser(X, T)
    assert network.label is None
    assert denoiser.num_classes is None
    with pytest.raises(ValueError, match="this model has no classes: omit the label"):
        denoiser(X, T, torch.tensor([3, 4]))


def test_the_network_sees_unit_variance_on_edms_path(target, generator):
    """For data of unit variance, or of sigma_data with EDM's own target; bounds of five standard errors."""
    schedule, t, count = EDMSchedule(), torch.tensor([0.001, 0.3, 0.7, 1.0]), 10_000
    x_0, eps = torch.randn(2, 4, 1, 100, count // 100, generator=generator)
    x_0 = x_0 * (target.sigma_data if isinstance(target, EDM) else 1)
    network = Recorder(torch.zeros_like(x_0))
    Denoiser(network, schedule, target)(q_sample(x_0, eps, schedule.rates(t)), t)
    torch.testing.assert_close(network.x.flatten(1).std(1), torch.ones(4), rtol=0, atol=5 / (2 * count) ** 0.5)


def test_the_input_scale_on_edms_path_is_the_formula(generator):
    schedule, x_t = EDMSchedule(), torch.randn(2, 1, 2, 2, generator=generator)
    network = Recorder()
    Denoiser(network, schedule, Noise())(x_t, T)
    for i, sigma in enumerate(schedule.rates(T).sigma.tolist()):
        torch.testing.assert_close(network.x[i], x_t[i] / (1 + sigma**2) ** 0.5)


def test_the_input_is_scaled_only_where_it_grows(path, target, generator):
    """EDM's own target also scales up inputs below unit variance."""
    network, x_t = Recorder(), torch.randn(2, 1, 2, 2, generator=generator)
    Denoiser(network, path, target)(x_t, T)
    for i, (alpha, sigma) in enumerate(zip(*path.rates(T.double()), strict=True)):
        variance = alpha**2 * target.sigma_data**2 + sigma**2 if isinstance(target, EDM) else alpha**2 + sigma**2
        scale = variance**-0.5 if isinstance(target, EDM) else min(variance**-0.5, 1)
        torch.testing.assert_close(network.x[i], x_t[i] * float(scale), rtol=1e-6, atol=0)


def test_a_perfect_network_recovers_image_and_noise(path, target, generator):
    """From the unscaled x_t."""
    x_0, eps = torch.randn(2, 3, 1, 4, 4, generator=generator, dtype=torch.float64)
    t = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
    rates = path.rates(t)
    network = Recorder(target(x_0, eps, rates))
    prediction = Denoiser(network, path, target)(q_sample(x_0, eps, rates), t)
    # The network's output is float32, and inverting amplifies its rounding.
    (alpha, sigma), det = rates.broadcast_to(x_0), target.determinant(rates.broadcast_to(x_0)).abs()
    rounding = 1e-7 * network.answer.abs().max()
    assert ((prediction.x_0 - x_0).abs() <= rounding * sigma / det + 1e-12).all()
    assert ((prediction.eps - eps).abs() <= rounding * alpha / det + 1e-12).all()
    assert prediction.v == 0


def test_arithmetic_is_float32_for_any_output_dtype(path, target, generator):
    """Under autocast too."""
    x_t, answer = torch.randn(2, 3, 1, 4, 4, generator=generator)
    t, rounded = torch.tensor([0.1, 0.5, 0.8]), answer.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        denoiser = Denoiser(Recorder(rounded), path, target)
        ours = denoiser(x_t, t)
    expected = target.invert(rounded.float(), x_t, path.rates(t))
    assert ours.x_0.dtype == ours.eps.dtype == torch.float32
    assert torch.equal(ours.x_0, expected.x_0)
    assert torch.equal(ours.eps, expected.eps)


@pytest.mark.parametrize(("choice", "default"), [("noise", 0.98), ("image", 1.0), ("flow", 1.0), ("edm", 1.0)])
def test_sampling_starts_where_the_target_says(schedule, choice, default):
    assert Denoiser(Recorder(), schedule, make("predict", choice, t_max=0.97)).t_max == 0.97
    assert Denoiser(Recorder(), schedule, make("predict", choice)).t_max == default


def test_the_image_can_be_predicted_where_sampling_starts(path, target):
    denoiser = Denoiser(Recorder(), path, target)
    assert 0 < denoiser.t_max <= 1
    assert denoiser.predicts_at(denoiser.t_max)
    assert denoiser.predicts_at(0.5)


@pytest.mark.parametrize("choice", choices("predict"))
def test_only_noise_needs_signal(path, choice):
    """Where alpha is 0, x_t is the noise, and predicting it says nothing about the image."""
    denoiser = Denoiser(Recorder(), path, make("predict", choice))
    no_signal = path.rates(torch.ones(1)).alpha.item() == 0
    assert denoiser.predicts_at(1.0) == (not (choice == "noise" and no_signal))


@pytest.mark.parametrize("choice", choices("predict"))
def test_a_prediction_on_pure_noise_is_finite_where_it_can_be(path, choice, generator):
    x_t, answer = torch.randn(2, 2, 1, 3, 3, generator=generator)
    denoiser = Denoiser(Recorder(answer), path, make("predict", choice))
    prediction = denoiser(x_t, torch.ones(2))
    assert prediction.x_0.isfinite().all() == denoiser.predicts_at(1.0)


def test_a_plain_denoiser_is_not_guided(schedule):
    denoiser = Denoiser(Recorder(num_classes=10), schedule, Noise())
    assert denoiser.describe() == {"name": "none"}
    assert denoiser.evaluations_at(0.5) == 1
    assert denoiser.knows_none is True
    assert Denoiser(Recorder(num_classes=10), schedule, Noise(), knows_none=False).knows_none is False


def test_a_copy_uses_its_own_schedule(schedule):
    """An average of weights, or a spawned process, works on a copy."""
    denoiser = copy.deepcopy(Denoiser(Recorder(conditioning="log_snr"), schedule, Noise()))
    denoiser.schedule.log_alpha_bar_nodes.mul_(2)
    t = torch.tensor([0.5, 0.5])
    denoiser(X, t)
    assert torch.equal(denoiser.network.noise_level, denoiser.schedule.log_snr(t))
    assert (denoiser.network.noise_level != schedule.log_snr(t)).all()


def test_self_conditioning_concatenates_the_estimate_to_x_t(path):
    network = Recorder()
    denoiser = Denoiser(network, path, Noise(), self_conditioning=True)
    scaled = path.rates(T).broadcast_to(X).input_scale() * X
    for estimate, second in ((None, torch.zeros_like(X)), (3 * X, 3 * X)):
        denoiser(X, T, None, estimate)
        torch.testing.assert_close(network.x, torch.cat([scaled, second], dim=1))
    plain = Denoiser(network, path, Noise())
    plain(X, T, None, 3 * X)
    torch.testing.assert_close(network.x, scaled)


def test_a_first_estimate_is_the_limited_prediction_without_one(path):
    denoiser = Denoiser(Recorder(10 * torch.ones(2, 1, 2, 2)), path, Image(), self_conditioning=True)
    x_t = X.clone().requires_grad_()
    estimate = first_estimate(denoiser, x_t, T, None, lambda x: x.clamp(-1, 1))
    assert torch.equal(estimate, torch.ones(2, 1, 2, 2))
    assert not estimate.requires_grad
    assert first_estimate(Denoiser(Recorder(), path, Image()), X, T, None, torch.clone) is None


def test_the_last_output_channels_are_of_a_learned_variance(path):
    output = torch.cat([3 * X, torch.full_like(X, -0.5)], dim=1)
    denoiser = Denoiser(Recorder(output), path, Image(), variance=LearnedRange())
    prediction = denoiser(X, T)
    assert torch.equal(prediction.x_0, 3 * X)
    assert torch.equal(prediction.v, torch.full_like(X, 0.25))
    assert (denoiser.learns_variance, Denoiser(Recorder(), path, Image()).learns_variance) == (True, False)
