"""Bits per dimension by the variational bound: its terms against closed forms, and their sum against the truth."""

import math

import pytest
import torch
from torch.distributions import Normal

from choices import make
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
from ddpm_lightning.diffusion.target import Noise, Prediction
from ddpm_lightning.diffusion.variance import FixedVariance, LearnedRange
from ddpm_lightning.metrics.likelihood.bound import BoundLikelihood
from ddpm_lightning.metrics.likelihood.images import LabelledImages, mean_of_images
from metrics.likelihood.gaussian import IsotropicDenoiser

MEAN, STD = 0.1, 0.25


def images_of_levels(count: int) -> LabelledImages:
    """Images 16x16 whose pixels are levels of [-1, 1], in proportion to N(MEAN, STD^2)."""
    places = (torch.arange(count * 256, dtype=torch.float64) + 0.5) / (count * 256)
    values = Normal(torch.tensor(MEAN).double(), STD).icdf(places).clamp(-1, 1)
    values = values[torch.randperm(len(values), generator=torch.Generator().manual_seed(0))]
    return LabelledImages(
        ((values + 1) * 127.5).round().div(127.5).sub(1).reshape(count, 1, 16, 16), torch.arange(count)
    )


def measured(likelihood: BoundLikelihood, schedule, images: LabelledImages, own_steps=1000, v=0.0):
    denoiser = IsotropicDenoiser(schedule, MEAN, STD)
    bound = likelihood.bound(denoiser, own_steps)
    return likelihood.terms(bound, schedule, lambda *inputs: denoiser(*inputs)._replace(v=v), images, seed=3)


def test_the_terms_are_the_closed_forms_of_normal_data():
    """With the exact posterior mean, E|x_0 - x_0_hat|^2 = c sigma^2 / (alpha^2 c + sigma^2), for variance c.

    L_{t-1} is its KL divergence between normals of the posterior's variance: Ho et al. 2020, eq. 10 with x_0_weight =
    sqrt(alpha_bar_{t-1}) beta_t / (1 - alpha_bar_t). L_T is that of N(sqrt(alpha_bar_T) x_0, 1 - alpha_bar_T) from
    N(0, 1).
    """
    steps, images = 50, images_of_levels(64)
    schedule = LinearSchedule(steps)
    found = measured(BoundLikelihood(clip=False), schedule, images, steps)
    alpha_bar = schedule.rates(torch.arange(steps + 1, dtype=torch.float64) / steps).alpha.square()
    beta = 1 - alpha_bar[1:] / alpha_bar[:-1]
    weight = alpha_bar[:-1].sqrt() * beta / (1 - alpha_bar[1:])
    variance = beta * (1 - alpha_bar[:-1]) / (1 - alpha_bar[1:])
    c = float(images.x_0.var(correction=0))
    error = c * (1 - alpha_bar[1:]) / (alpha_bar[1:] * c + 1 - alpha_bar[1:])
    expected = weight.square() * error / (2 * variance) / math.log(2)
    torch.testing.assert_close(found.steps[:, 1:].mean(0), expected[1:], rtol=0.05, atol=0)

    last, m2 = alpha_bar[-1], images.x_0.square().flatten(1).mean(1)
    prior = 0.5 * (last * m2 + (1 - last) - 1 - (1 - last).log()) / math.log(2)
    torch.testing.assert_close(found.prior, prior, rtol=1e-6, atol=0)


def test_the_decoder_is_the_probability_of_a_level():
    """Ho et al. 2020, eq. 13, for a prediction that does not depend on the noise."""
    images, schedule = images_of_levels(4), LinearSchedule(50)
    likelihood = BoundLikelihood()
    bound = likelihood.bound(IsotropicDenoiser(schedule), 50)
    guess = (0.99 * images.x_0 + 0.01).clamp(-1, 1)
    terms = likelihood.terms(bound, schedule, lambda *_: Prediction(guess, guess, v=1.0), images, seed=0)
    normal = Normal(guess, schedule.rates(torch.tensor(0.02, dtype=torch.float64)).sigma)
    above = normal.cdf(images.x_0 + 1 / 255).where(images.x_0 < 0.999, 1.0)
    below = normal.cdf(images.x_0 - 1 / 255).where(images.x_0 > -0.999, 0.0)
    torch.testing.assert_close(terms.steps[:, 0], -(above - below).log2().flatten(1).mean(1))


@pytest.mark.parametrize("name", ["cosine", "flow"])
def test_the_bound_comes_down_to_the_entropy_of_the_levels(name):
    images = images_of_levels(16)
    probability = torch.unique(images.x_0, return_counts=True)[1] / images.x_0.numel()
    entropy = float(-(probability * probability.log2()).sum())
    gaps = []
    for steps in (10, 30, 100):  # of more, the first would only tell values within a bin apart
        terms = measured(BoundLikelihood(steps, v=1.0), make("schedule", name), images)
        gaps.append(float((terms.prior + terms.steps.sum(1)).mean()) - entropy)
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] < 0.07


def test_clipping_is_that_of_the_predicted_image():
    images, schedule = images_of_levels(2), LinearSchedule(50)
    bound = BoundLikelihood().bound(IsotropicDenoiser(schedule), 50)

    def predicted(x_0: float):
        image = torch.full_like(images.x_0, x_0)
        return lambda *_: Prediction(image, image, v=0.0)

    clipped, at_the_edge, beyond = (
        BoundLikelihood(clip=clip).terms(bound, schedule, predicted(x_0), images, seed=0).steps
        for clip, x_0 in ((True, 1.5), (False, 1.0), (False, 1.5))
    )
    torch.testing.assert_close(clipped, at_the_edge)
    assert (beyond > clipped).all()


def test_noise_is_keyed_by_image_and_step():
    images, schedule = images_of_levels(4), make("schedule", "cosine")
    together = measured(BoundLikelihood(5), schedule, images)
    last = measured(BoundLikelihood(5), schedule, LabelledImages(images.x_0[2:], images.indices[2:]))
    torch.testing.assert_close(last.steps, together.steps[2:])
    same = LabelledImages(images.x_0[:1].expand(4, -1, -1, -1), images.indices)
    assert len(measured(BoundLikelihood(5), schedule, same).steps[:, 3].unique()) == 4


@pytest.mark.parametrize(
    ("schedule", "options", "own", "expected"),
    [
        ("cosine", {}, 1000, 1000),
        ("cosine", {}, 4000, 1000),
        ("flow", {"num_steps": 10}, 1000, 10),
        ("edm", {}, 50, 50),
    ],
)
def test_the_steps_are_the_models_own_unless_set(schedule, options, own, expected):
    likelihood, denoiser = BoundLikelihood(**options), IsotropicDenoiser(make("schedule", schedule))
    assert len(likelihood.bound(denoiser, own)) == expected


class Zeros(torch.nn.Module):
    conditioning, num_classes = "time", None


@pytest.mark.parametrize(
    ("variance", "v", "expected"),
    [(FixedVariance(0.3), None, 0.3), (LearnedRange(), None, "learned"), (LearnedRange(), 0.5, 0.5)],
)
def test_the_description_has_what_a_null_stands_for(variance, v, expected):
    denoiser = Denoiser(Zeros(), make("schedule", "cosine"), Noise(), variance=variance)
    described = {"name": "variational bound", "kind": "upper bound", "num_steps": 50, "clip": True, "v": expected}
    assert BoundLikelihood(v=v).describe(denoiser, 50) == described


@pytest.mark.parametrize(
    ("schedule", "num_steps", "message"),
    [
        ("flow", None, r"no variational bound: it predicts noise, .* leave the bound out with metrics\.bound=null"),
        ("cosine", 2000, r"metrics\.bound\.num_steps=2000 has steps below t = 0\.001, .* take at most 1000"),
        ("linear_rates", None, r"adds none from t = .* metrics\.bound\.num_steps\); or leave the bound out with"),
    ],
)
def test_a_path_without_a_bound_is_refused(schedule, num_steps, message):
    denoiser = Denoiser(Zeros(), make("schedule", schedule), Noise())
    with pytest.raises(ValueError, match=message):
        BoundLikelihood(num_steps).bound(denoiser, 1000)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_steps": 1}, "num_steps must be at least 2, not 1"), ({"v": 1.5}, r"v must lie in \[0, 1\], not 1\.5")],
)
def test_an_option_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=rf"metrics\.bound\.{message}"):
        BoundLikelihood(**options)


def test_a_v_replaces_the_models():
    images, schedule = images_of_levels(2), make("schedule", "cosine")
    own, given, other = (
        measured(BoundLikelihood(10, v=v), schedule, images, v=of_model).steps
        for v, of_model in ((None, 0.7), (0.7, 0.0), (None, 0.0))
    )
    torch.testing.assert_close(given, own)
    assert not torch.isclose(other, own).any()


def test_the_interval_is_that_of_student():
    """n = 4, mean 3, s = sqrt(20/3), and the 97.5 % quantile of t with 3 degrees of freedom, 3.18245."""
    mean, low, high = mean_of_images(torch.tensor([0.0, 2.0, 4.0, 6.0]))
    assert mean == 3 and high - mean == pytest.approx(3.18245 * math.sqrt(20 / 3) / 2, rel=1e-5) == mean - low
    assert math.isnan(mean_of_images(torch.tensor([1.0])).low)
