"""Guidance by a classifier, on a mixture of Gaussians whose classifier and denoisers are known exactly."""

import pytest
import torch
from torch import Tensor, nn

from ddpm_lightning.diffusion.classifier import Classifier, TrainedOn
from ddpm_lightning.diffusion.classifier_guidance import ClassifierGuidance, check_images
from ddpm_lightning.diffusion.guidance import unguided
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.schedules.flow import FlowSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.target import Prediction, eps_from_x_0
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.generation import SampleStream

SHAPE, CLASSES = (1, 2, 2), 3
MEANS = torch.tensor([[1.0, -0.5, 0.3, 0.0], [-0.8, 0.4, 0.9, 0.2], [0.1, 1.2, -1.0, -0.6]], dtype=torch.float64)
STDS = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
SHARES = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
TIMES = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)


class MixtureClassifier(nn.Module):
    """p(y | x_t) of x_0 ~ sum of SHARES[y] N(MEANS[y], STDS[y]^2), by Bayes' rule."""

    num_classes, trained_on, weights_hash = CLASSES, None, "ab" * 8

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (rate[:, None] for rate in self.schedule.rates(t))
        variance = alpha**2 * STDS.to(x_t) ** 2 + sigma**2
        distance = (x_t.flatten(1)[:, None] - alpha[:, :, None] * MEANS.to(x_t)).square().sum(-1)
        return SHARES.to(x_t).log() - distance / (2 * variance) - MEANS.shape[1] / 2 * variance.log()


class MixtureDenoiser:
    """The exact expectation of x_0 given x_t, and given the class where it takes labels."""

    t_max = 1.0
    knows_none = True
    learns_variance = False
    estimate = None

    def __init__(self, schedule: Schedule, num_classes: int | None = None) -> None:
        self.schedule, self.num_classes = schedule, num_classes

    def describe(self):
        return {"name": "none"}

    def evaluations_at(self, t):
        return 1

    def predicts_at(self, t):
        return True

    def __call__(self, x_t, t, label=None, estimate=None):
        self.estimate = estimate
        assert (label is None) == (self.num_classes is None)
        alpha, sigma = (rate[:, None, None] for rate in self.schedule.rates(t))
        gain = alpha * STDS.to(x_t)[:, None] ** 2 / (alpha**2 * STDS.to(x_t)[:, None] ** 2 + sigma**2)
        of_class = MEANS.to(x_t) + gain * (x_t.flatten(1)[:, None] - alpha * MEANS.to(x_t))  # (B, K, D)
        p = MixtureClassifier(self.schedule)(x_t, t).softmax(1)
        if label is not None:
            p = torch.where((label < CLASSES)[:, None], torch.eye(CLASSES + 1).to(x_t)[label][:, :CLASSES], p)
        x_0 = (p[:, :, None] * of_class).sum(1).reshape(x_t.shape)
        return Prediction(x_0, eps_from_x_0(x_t, x_0, self.schedule.rates(t)), 0.25)


def states(schedule: Schedule, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """x_t of the mixture at TIMES, the times, and labels that are not always those of x_t."""
    generator = torch.Generator().manual_seed(0)
    component, label = (torch.randint(CLASSES, (len(TIMES),), generator=generator) for _ in range(2))
    noise, eps = torch.randn(2, len(TIMES), 4, generator=generator, dtype=torch.float64)
    alpha, sigma = (rate[:, None] for rate in schedule.rates(TIMES))
    x_t = alpha * (MEANS[component] + STDS[component, None] * noise) + sigma * eps
    return x_t.reshape(-1, *SHAPE).to(dtype), TIMES.to(dtype), label


def guided(schedule: Schedule, **options: float) -> ClassifierGuidance:
    return ClassifierGuidance(MixtureDenoiser(schedule), MixtureClassifier(schedule), **options)


def test_the_true_classifier_makes_an_unconditional_denoiser_the_conditional_one(path):
    """Bayes: grad log p(x_t | y) = grad log p(x_t) + grad log p(y | x_t)."""
    x_t, t, label = states(path)
    ours, expected = guided(path)(x_t, t, label), MixtureDenoiser(path, CLASSES)(x_t, t, label)
    torch.testing.assert_close(ours.eps, expected.eps, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.x_0, expected.x_0, rtol=1e-7, atol=1e-9)
    assert (ours.x_0 - MixtureDenoiser(path)(x_t, t).x_0).abs().max() > 0.1
    assert ours.v == 0.25


def test_in_float32_it_is_exact_to_rounding(path):
    x_t, t, label = states(path, torch.float32)
    ours, expected = guided(path)(x_t, t, label), MixtureDenoiser(path, CLASSES)(x_t, t, label)
    torch.testing.assert_close(ours.x_0, expected.x_0, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("scale", [0.0, 0.5, 4.0])
def test_the_shift_of_eps_is_proportional_to_the_scale(path, scale):
    x_t, t, label = states(path)
    unconditional, conditional = MixtureDenoiser(path)(x_t, t), MixtureDenoiser(path, CLASSES)(x_t, t, label)
    x_0, eps, _ = guided(path, scale=scale)(x_t, t, label)
    for ours, one, other in ((eps, unconditional.eps, conditional.eps), (x_0, unconditional.x_0, conditional.x_0)):
        torch.testing.assert_close(ours, one + scale * (other - one), rtol=1e-7, atol=1e-8)
    alpha, sigma = path.rates(t).broadcast_to(x_t)
    torch.testing.assert_close(alpha * x_0 + sigma * eps, x_t, rtol=1e-9, atol=1e-9)


def test_a_conditional_denoiser_is_given_the_label_as_well():
    schedule = CosineSchedule()
    x_t, t, label = states(schedule)
    denoiser = MixtureDenoiser(schedule, CLASSES)
    both = ClassifierGuidance(denoiser, MixtureClassifier(schedule), 1.0)(x_t, t, label).eps
    alone, shifted = denoiser(x_t, t, label).eps, guided(schedule)(x_t, t, label).eps
    torch.testing.assert_close(both - alone, shifted - MixtureDenoiser(schedule)(x_t, t).eps)


def test_the_label_after_the_last_class_is_no_label():
    schedule = CosineSchedule()
    x_t, t, label = states(schedule)
    label[::2] = CLASSES
    ours, unconditional = guided(schedule)(x_t, t, label), MixtureDenoiser(schedule)(x_t, t)
    assert torch.equal(ours.eps[::2], unconditional.eps[::2])
    assert (ours.eps[1::2] != unconditional.eps[1::2]).flatten(1).any(1).all()


def test_only_noise_levels_within_the_interval_are_guided(path):
    x_t, t, label = states(path)
    level = (-path.log_snr(t) / 2).exp()
    inside = (level >= 0.5) & (level <= 2.0)
    assert 0 < inside.sum() < len(t)
    limited, full = guided(path, level_min=0.5, level_max=2.0), guided(path)
    for part in range(2):
        plain = MixtureDenoiser(path)(x_t, t)[part]
        assert torch.equal(
            limited(x_t, t, label)[part], full(x_t, t, label)[part].where(inside[:, None, None, None], plain)
        )
    limited.classifier.forward = None  # not called
    assert torch.equal(
        limited(x_t[~inside], t[~inside], label[~inside]).eps, MixtureDenoiser(path)(x_t[~inside], t[~inside]).eps
    )


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_computed_where_others_are_not(mode):
    schedule = CosineSchedule()
    x_t, t, label = states(schedule, torch.float32)
    expected = guided(schedule)(x_t, t, label)
    with mode():
        ours = guided(schedule)(x_t.clone(), t.clone(), label.clone())  # made in this mode
    assert torch.equal(ours.eps, expected.eps)
    assert not ours.eps.requires_grad


def test_the_gradient_is_in_float32_under_autocast():
    schedule = CosineSchedule()
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, CLASSES))
    network.conditioning, network.num_classes = "time", CLASSES
    network.forward = lambda x, noise_level: network[1](network[0](x))
    guidance = ClassifierGuidance(MixtureDenoiser(schedule), Classifier(network, schedule), 2.0)
    x_t, t, label = states(schedule, torch.float32)
    expected = guidance(x_t, t, label).eps
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(guidance(x_t, t, label).eps, expected)


def test_where_no_signal_is_left_nothing_is_guided():
    schedule = FlowSchedule()
    x_t, t = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0, 0.5])
    ours, plain = guided(schedule)(x_t, t, torch.tensor([0, 1])), MixtureDenoiser(schedule)(x_t, t)
    assert torch.equal(ours.x_0[0], plain.x_0[0]) and not torch.equal(ours.x_0[1], plain.x_0[1])


def test_samples_of_a_model_without_classes_have_the_moments_of_their_class():
    schedule = CosineSchedule()
    stream = SampleStream(guided(schedule), DDIM(100, clip=False), SHAPE, seed=0, device=torch.device("cpu"))
    drawn, label = stream.draw(torch.arange(3000)).flatten(1).double(), stream.labels(torch.arange(3000))
    for k in range(CLASSES):
        of_class = drawn[label == k]
        torch.testing.assert_close(of_class.mean(0), MEANS[k], rtol=0, atol=0.06)
        torch.testing.assert_close(of_class.std(0), STDS[k].expand(4), rtol=0.1, atol=0)


def test_a_guided_denoiser_is_a_denoiser():
    schedule = CosineSchedule()
    guidance, estimate = guided(schedule, scale=3.0, level_max=5.0), torch.ones(25, *SHAPE)
    assert (guidance.num_classes, guidance.knows_none, guidance.t_max) == (CLASSES, False, 1.0)
    assert guidance.evaluations_at(0.5) == 1  # of the denoiser
    described = {"name": "classifier", "scale": 3.0, "level_min": 0.0, "level_max": 5.0, "classifier": "ab" * 8}
    assert guidance.describe() == described
    guidance(*states(schedule), estimate)
    assert guidance.denoiser.estimate is estimate
    with pytest.raises(ValueError, match="classifier guidance needs a label per sample"):
        guidance(*states(schedule)[:2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(scale=-1.0), "guidance.scale must be a finite number of at least 0, not -1.0"),
        (dict(scale=float("nan")), "guidance.scale must be a finite number of at least 0, not nan"),
        (dict(level_min=-1.0), "guidance.level_min must be at least 0, not -1"),
        (dict(level_min=2.0, level_max=1.0), r"guidance.level_max=1.0 must not be below guidance.level_min=2.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        guided(CosineSchedule(), **options)


def test_a_classifier_of_another_schedule_is_refused():
    for other in (LinearSchedule(), CosineSchedule(offset=0.1), FlowSchedule()):
        with pytest.raises(
            ValueError, match=rf"another schedule .*: {type(other).__name__} .*, and here CosineSchedule"
        ):
            ClassifierGuidance(MixtureDenoiser(CosineSchedule()), MixtureClassifier(other))


def test_a_classifier_of_other_classes_is_refused():
    schedule = CosineSchedule()
    with pytest.raises(ValueError, match="guidance.classifier knows 3 classes, and this model 10"):
        ClassifierGuidance(MixtureDenoiser(schedule, num_classes=10), MixtureClassifier(schedule))


STANDARDISED = (torch.full((1, 1, 1), -0.4), torch.full((1, 1, 1), 2.8))
UNFITTED = (torch.full((1, 1, 1), float("nan")),) * 2


@pytest.mark.parametrize(
    ("theirs", "shape", "value_range", "message"),
    [
        ((-1.0, 1.0), (1, 4, 4), (-1.0, 1.0), "images of 1x2x2, and this model on images of 1x4x4"),
        ((-1.0, 1.0), SHAPE, STANDARDISED, "pixels from -1 to 1, and this model on pixels from -0.4 to 2.8"),
        ((-1.0, 1.0), SHAPE, UNFITTED, "pixels from -1 to 1, and this model on pixels that are standardised"),
        (STANDARDISED, SHAPE, (STANDARDISED[0], STANDARDISED[1] + 1), "from -0.4 to 2.8, .* from -0.4 to 3.8"),
        (STANDARDISED, SHAPE, STANDARDISED, None),
        (STANDARDISED, SHAPE, UNFITTED, None),  # what it will learn of the training split is not known yet
    ],
)
def test_a_classifier_of_other_images_is_refused(theirs, shape, value_range, message):
    guidance = guided(CosineSchedule())
    guidance.classifier.trained_on = TrainedOn(SHAPE, theirs)
    device = torch.device("cpu")
    if message is None:
        SampleStream(guidance, DDIM(2), shape, 0, device, value_range)
        return
    for check in (
        lambda: check_images(guidance, shape, value_range),
        lambda: SampleStream(guidance, DDIM(2), shape, 0, device, value_range),
    ):
        with pytest.raises(ValueError, match=message):
            check()
    check_images(unguided(guidance.denoiser), shape, value_range)
