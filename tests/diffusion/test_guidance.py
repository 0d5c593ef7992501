import pytest
import torch
from ddpm_lightning.diffusion.parameterization import Prediction

from ddpm_lightning.diffusion.guidance import ClassifierFreeGuidance, unguided
from ddpm_lightning.diffusion.schedule import LinearSchedule


class LabelledDenoiser:
    """Predictions that depend on x_t, t and the label, and on there being none."""

    schedule = LinearSchedule()
    t_max = 0.9

    def __call__(self, x_t, t, label=None):
        offset = torch.full_like(t, -1.0) if label is None else label.to(t)
        image = (x_t * t[:, None, None, None]).tanh() + offset[:, None, None, None]
        return Prediction(image, 2 * image - x_t)


@pytest.fixture
def arguments(generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(3, 1, 2, 2, generator=generator), torch.tensor([0.1, 0.5, 0.9]), torch.tensor([4, 0, 2])


def test_scale_one_is_the_conditional_and_scale_zero_the_unconditional_prediction(arguments):
    x_t, t, label = arguments
    for scale, expected in ((1.0, LabelledDenoiser()(x_t, t, label)), (0.0, LabelledDenoiser()(x_t, t, None))):
        torch.testing.assert_close(ClassifierFreeGuidance(LabelledDenoiser(), scale)(x_t, t, label), expected)


def test_the_prediction_is_linear_in_the_scale(arguments):
    x_t, t, label = arguments
    conditional, unconditional = LabelledDenoiser()(x_t, t, label), LabelledDenoiser()(x_t, t, None)
    ours = ClassifierFreeGuidance(LabelledDenoiser(), 3.0)(x_t, t, label)
    for part in range(2):
        torch.testing.assert_close(ours[part], 3 * conditional[part] - 2 * unconditional[part])


def test_image_and_noise_still_make_x_t(arguments):
    """Both predictions satisfy x_t = signal * image + noise_rate * noise, and so does their combination."""
    x_t, t, label = arguments
    rates = LinearSchedule().rates(t).broadcast_to(x_t)

    class Consistent(LabelledDenoiser):
        def __call__(self, x_t, t, label=None):
            image = super().__call__(x_t, t, label).image
            return Prediction(image, (x_t - rates.signal * image) / rates.noise)

    image, noise = ClassifierFreeGuidance(Consistent(), 4.0)(x_t, t, label)
    torch.testing.assert_close(rates.signal * image + rates.noise * noise, x_t, rtol=0, atol=2e-5)


def test_a_guided_denoiser_is_a_denoiser():
    denoiser = LabelledDenoiser()
    guided = ClassifierFreeGuidance(denoiser, 2.0)
    assert guided.schedule is denoiser.schedule
    assert guided.t_max == 0.9
    assert unguided(denoiser) is denoiser


def test_guidance_without_labels_is_refused(arguments):
    x_t, t, _ = arguments
    with pytest.raises(ValueError, match="needs a label per sample"):
        ClassifierFreeGuidance(LabelledDenoiser())(x_t, t, None)


def test_a_negative_scale_is_refused():
    with pytest.raises(ValueError, match=r"guidance.scale must be at least 0, not -1"):
        ClassifierFreeGuidance(LabelledDenoiser(), -1)
