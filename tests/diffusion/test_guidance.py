from dataclasses import dataclass

import pytest
import torch

from choices import GUIDANCES, make
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.guidance import ClassifierFreeGuidance, GuidedDenoiser, unguided
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.target import Noise, Prediction, eps_from_x_0


class LabelledDenoiser:
    """A denoiser whose predictions depend on x_t, t and the label or its absence."""

    schedule = LinearSchedule()
    t_max = 0.9
    num_classes = 10
    knows_none = True
    learns_variance = False

    def evaluations_at(self, t):
        return 3

    def describe(self):
        return {"name": "none"}

    def predicts_at(self, t):
        return t < 0.95

    def __call__(self, x_t, t, label=None, estimate=None):
        offset = torch.full_like(t, -1.0) if label is None else label.to(t).where(label < 10, -1.0)
        x_0 = (x_t * t[:, None, None, None]).tanh() + offset[:, None, None, None]
        return Prediction(x_0, 2 * x_0 - x_t, 3 * x_0)


class WithoutClasses(LabelledDenoiser):
    num_classes = None


class NeverWithoutLabel(LabelledDenoiser):
    knows_none = False


@pytest.fixture
def arguments(generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(3, 1, 2, 2, generator=generator), torch.tensor([0.1, 0.5, 0.9]), torch.tensor([4, 0, 2])


def test_scale_one_is_conditional_and_zero_is_unconditional(arguments):
    x_t, t, label = arguments
    for scale, expected in ((1.0, LabelledDenoiser()(x_t, t, label)), (0.0, LabelledDenoiser()(x_t, t, None))):
        ours = ClassifierFreeGuidance(LabelledDenoiser(), scale)(x_t, t, label)
        torch.testing.assert_close(ours[:2], expected[:2])


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_the_prediction_is_linear_in_the_scale(arguments, scale):
    x_t, t, label = arguments
    conditional, unconditional = LabelledDenoiser()(x_t, t, label), LabelledDenoiser()(x_t, t, None)
    ours = ClassifierFreeGuidance(LabelledDenoiser(), scale)(x_t, t, label)
    for part in range(2):
        expected = scale * conditional[part] + (1 - scale) * unconditional[part]
        torch.testing.assert_close(ours[part], expected)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_the_variance_is_that_of_the_conditional_prediction(arguments, scale):
    x_t, t, label = arguments
    ours = ClassifierFreeGuidance(LabelledDenoiser(), scale)(x_t, t, label)
    assert torch.equal(ours.v, LabelledDenoiser()(x_t, t, label).v)


def test_image_and_noise_still_make_x_t(path, arguments):
    """Both predictions satisfy x_t = alpha x_0 + sigma eps, and so does their combination."""
    x_t, t, label = (part.double() if part.is_floating_point() else part for part in arguments)

    class Consistent(LabelledDenoiser):
        def __call__(self, x_t, t, label=None, estimate=None):
            x_0 = super().__call__(x_t, t, label).x_0
            return Prediction(x_0, eps_from_x_0(x_t, x_0, path.rates(t)))

    x_0, eps, v = ClassifierFreeGuidance(Consistent(), 4.0)(x_t, t, label)
    alpha, sigma = path.rates(t).broadcast_to(x_t)
    torch.testing.assert_close(alpha * x_0 + sigma * eps, x_t, rtol=0, atol=1e-9)
    assert v is None


def test_a_network_is_called_with_and_without_labels(path, arguments):
    x_t, t, label = arguments

    class Network(torch.nn.Module):
        conditioning, num_classes, labels = "time", 10, []

        def forward(self, x, noise_level, label):
            self.labels.append(label.tolist())
            return x * label[:, None, None, None]

    guided = ClassifierFreeGuidance(Denoiser(Network(), path, Noise()), 2.0)
    x_0, eps, _ = guided(x_t, t, label)
    assert guided.denoiser.network.labels == [[4, 0, 2, 10, 10, 10]]  # in one call
    alpha, sigma = path.rates(t).broadcast_to(x_t)
    expected = (2 * label - 10)[:, None, None, None] * x_t * path.rates(t).broadcast_to(x_t).input_scale()
    torch.testing.assert_close(eps, expected)
    torch.testing.assert_close(x_0, (x_t - sigma * expected) / alpha, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("choice", GUIDANCES)
def test_a_guidance_hands_on_the_estimate_of_self_conditioning(choice, arguments):
    class Recorder(LabelledDenoiser):
        def __call__(self, x_t, t, label=None, estimate=None):
            self.estimate = estimate
            return super().__call__(x_t, t, label)

    denoiser, estimate = Recorder(), torch.arange(3.0)[:, None, None, None].expand(3, 1, 2, 2)
    make("guidance", choice)(denoiser)(*arguments, estimate)
    given = denoiser.estimate.unflatten(0, (-1, 3))  # once, or for both halves of a batch
    assert torch.equal(given, estimate.expand_as(given))
    make("guidance", choice)(denoiser)(*arguments)
    assert denoiser.estimate is None


@pytest.mark.parametrize("choice", GUIDANCES)
def test_a_guided_denoiser_is_a_denoiser(choice, arguments):
    denoiser = LabelledDenoiser()
    guided = make("guidance", choice)(denoiser)
    assert guided.schedule is denoiser.schedule
    assert (guided.t_max, guided.num_classes) == (0.9, 10)
    assert (guided.predicts_at(0.9), guided.predicts_at(1.0)) == (True, False)
    assert guided.evaluations_at(0.5) % 3 == 0
    assert guided.describe()["name"] == choice
    assert guided(*arguments).x_0.shape == arguments[0].shape


@dataclass(eq=False)
class Unchanging(GuidedDenoiser):
    """A guidance defined only here, with an option that no other has."""

    order: int = 2
    name = "unchanging"


def test_a_guidance_that_changes_nothing_predicts_the_same(arguments):
    denoiser = LabelledDenoiser()
    guided = Unchanging(denoiser)
    assert (guided.evaluations_at(0.5), guided.knows_none) == (3, True)
    for ours, expected in zip(guided(*arguments), denoiser(*arguments), strict=True):
        assert torch.equal(ours, expected)
    assert unguided(denoiser) is denoiser


def test_guidance_doubles_evaluations_and_reports_its_scale():
    guided = ClassifierFreeGuidance(LabelledDenoiser(), 2.5)
    assert guided.evaluations_at(0.5) == 6
    described = {"name": "classifier_free", "scale": 2.5, "rescale": 0.0, "level_min": 0.0, "level_max": None}
    assert guided.describe() == described


def test_a_guidance_describes_its_options_and_its_denoiser():
    inner = ClassifierFreeGuidance(LabelledDenoiser(), 2.5)
    expected = {"name": "unchanging", "order": 3, "of": inner.describe()}
    assert Unchanging(inner, order=3).describe() == expected
    assert Unchanging(LabelledDenoiser()).describe() == {"name": "unchanging", "order": 2}


LEVELS = dict(level_min=0.5, level_max=2.0)


def test_only_noise_levels_within_the_interval_are_guided(path, generator):
    denoiser = LabelledDenoiser()
    denoiser.schedule = path
    guided, limited = ClassifierFreeGuidance(denoiser, 3.0), ClassifierFreeGuidance(denoiser, 3.0, **LEVELS)
    t = torch.linspace(0.05, 0.95, 19)
    x_t, label = torch.randn(19, 1, 2, 2, generator=generator), torch.arange(19) % 10
    level = (-path.log_snr(t.double()) / 2).exp()
    inside = (level >= 0.5) & (level <= 2.0)
    assert 0 < inside.sum() < 19
    for part in range(3):
        expected = guided(x_t, t, label)[part].where(inside[:, None, None, None], denoiser(x_t, t, label)[part])
        assert torch.equal(limited(x_t, t, label)[part], expected)
    for chosen in (inside, ~inside):  # also where all are of one kind, and the second half is not computed
        ours = limited(x_t[chosen], t[chosen], label[chosen])
        assert torch.equal(ours.x_0, limited(x_t, t, label).x_0[chosen])
    assert [limited.evaluations_at(time) for time in t.tolist()] == [6 if is_inside else 3 for is_inside in inside]


@pytest.mark.parametrize("rescale", [0.3, 1.0])
def test_rescaling_interpolates_to_the_standard_deviation_of_the_conditional_image(path, generator, rescale):
    """Lin et al. 2023, eq. 14 to 16."""
    denoiser = LabelledDenoiser()
    denoiser.schedule = path
    x_t, t, label = torch.randn(3, 1, 8, 8, generator=generator), torch.tensor([0.1, 0.5, 0.9]), torch.tensor([4, 0, 2])
    plain = ClassifierFreeGuidance(denoiser, 5.0)(x_t, t, label)
    x_0, eps, _ = ClassifierFreeGuidance(denoiser, 5.0, rescale=rescale)(x_t, t, label)
    conditional = denoiser(x_t, t, label).x_0
    ratio = (conditional.std((1, 2, 3)) / plain.x_0.std((1, 2, 3)))[:, None, None, None]
    torch.testing.assert_close(x_0, rescale * ratio * plain.x_0 + (1 - rescale) * plain.x_0)
    alpha, sigma = path.rates(t).broadcast_to(x_t)
    torch.testing.assert_close(alpha * x_0 + sigma * eps, x_t, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(rescale=1.5), r"guidance.rescale must lie in \[0, 1\], not 1.5"),
        (dict(rescale=-0.1), r"guidance.rescale must lie in \[0, 1\], not -0.1"),
        (dict(rescale=float("nan")), r"guidance.rescale must lie in \[0, 1\], not nan"),
        (dict(level_min=float("nan")), "guidance.level_min must be at least 0, not nan"),
        (dict(level_max=float("nan")), "guidance.level_max=nan must not be below"),
        (dict(level_min=-1.0), "guidance.level_min must be at least 0, not -1"),
        (dict(level_min=2.0, level_max=1.0), r"guidance.level_max=1.0 must not be below guidance.level_min=2.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ClassifierFreeGuidance(LabelledDenoiser(), **options)


def test_an_infinite_limit_is_none():
    """So that pure noise, whose level is infinite, is guided as well, and a checkpoint's limit can be lifted."""
    guided = ClassifierFreeGuidance(LabelledDenoiser(), level_max=float("inf"))
    assert guided.level_max is None


def test_a_constant_image_is_not_rescaled(arguments):
    class Constant(LabelledDenoiser):
        def __call__(self, x_t, t, label=None, estimate=None):
            return Prediction(torch.full_like(x_t, 0.7), torch.zeros_like(x_t))

    x_0 = ClassifierFreeGuidance(Constant(), 5.0, rescale=1.0)(*arguments).x_0
    torch.testing.assert_close(x_0, torch.full_like(x_0, 0.7))


def test_guidance_without_labels_is_refused(arguments):
    x_t, t, _ = arguments
    with pytest.raises(ValueError, match="needs a label per sample"):
        ClassifierFreeGuidance(LabelledDenoiser())(x_t, t, None)


def test_guidance_of_a_network_without_classes_is_refused():
    with pytest.raises(ValueError, match=r"needs a class-conditional model: train with model.num_classes set"):
        ClassifierFreeGuidance(WithoutClasses())


def test_guidance_of_a_model_without_label_dropout_is_refused():
    with pytest.raises(ValueError, match=r"never trained for \(label_dropout=0\): train with label_dropout=0.1"):
        ClassifierFreeGuidance(NeverWithoutLabel())


def test_a_negative_scale_is_refused():
    with pytest.raises(ValueError, match=r"guidance.scale must be at least 0, not -1"):
        ClassifierFreeGuidance(LabelledDenoiser(), -1)
