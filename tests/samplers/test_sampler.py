"""What holds for every sampler."""

import itertools

import pytest
import torch
from ddpm_lightning.diffusion.parameterization import Image, Noise, Velocity
from torch import nn

from ddpm_lightning.data.normalizer import StandardizedNormalizer
from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.guidance import ClassifierFreeGuidance
from ddpm_lightning.diffusion.schedule import CosineSchedule, LinearSchedule
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.ddpm import DDPM, ddpm
from ddpm_lightning.samplers.sampler import predict

SAMPLERS = {"ddim": DDIM(3), "ddim-random": DDIM(3, eta=1.0), "ddpm": DDPM(3), "ddpm-large": DDPM(3, variance_mix=1.0)}
PARAMETERIZATIONS = [Noise(t_max=0.98), Image(), Velocity(t_max=0.999)]


@pytest.mark.parametrize("conditioning", list(Conditioning))
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS, ids=lambda p: p.name)
@pytest.mark.parametrize("schedule", [LinearSchedule(), CosineSchedule()], ids=["linear", "cosine"])
def test_every_combination_samples(
    schedule, parameterization, sampler, conditioning, make_denoiser, start, noise_source
):
    denoiser, states = make_denoiser(parameterization, schedule, conditioning=conditioning), []
    samples = sampler(denoiser, start, noise_source(start.shape), callback=states.append)
    assert samples.shape == start.shape
    assert samples.dtype == torch.float32
    assert samples.abs().max() <= 1
    assert samples.std() > 0.005
    for state in states:
        rates = schedule.rates(torch.full((2,), state.t)).broadcast_to(start)
        explained = rates.signal * state.prediction.image + rates.noise * state.prediction.noise
        torch.testing.assert_close(explained, state.x_t, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sampler", [DDIM, DDPM])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50, 60])
def test_any_number_of_steps_up_to_all_ends_at_the_image(sampler, steps, make_denoiser, start, noise_source):
    """The last step goes to t = 0, where x is the (clipped) image that was predicted last."""
    states = []
    denoiser = make_denoiser(Velocity(), CosineSchedule(60))
    samples = sampler(steps)(denoiser, start, noise_source(start.shape), callback=states.append)
    assert len(states) == steps
    torch.testing.assert_close(samples, states[-1].prediction.image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_the_callback_sees_every_node(sampler, make_denoiser, start, noise_source):
    states = []
    sampler(make_denoiser(Noise(t_max=0.9)), start, noise_source(start.shape), callback=states.append)
    assert [state.step for state in states] == [0, 1, 2]
    assert [state.t for state in states] == pytest.approx([0.9, 0.6, 0.3])
    assert torch.equal(states[0].x_t, start)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_watching_changes_nothing(sampler, make_denoiser, start, noise_source):
    denoiser = make_denoiser(Velocity())
    unwatched, watched = (
        sampler(denoiser, start, noise_source(start.shape), callback=c) for c in (None, lambda _: None)
    )
    assert torch.equal(unwatched, watched)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 0.25)], ids=str)
def test_clipping_keeps_the_image_in_range_and_the_noise_in_step(
    sampler, value_range, make_denoiser, start, noise_source
):
    states, denoiser = [], make_denoiser(Noise(t_max=0.98))
    sampler(denoiser, start, noise_source(start.shape), value_range=value_range, callback=states.append)
    for state in states:
        image, noise = state.prediction
        assert value_range[0] <= image.min()
        assert image.max() <= value_range[1]
        rates = denoiser.schedule.rates(torch.full((2,), state.t)).broadcast_to(image)
        torch.testing.assert_close(rates.signal * image + rates.noise * noise, state.x_t, rtol=0, atol=1e-5)
    assert (states[0].prediction.image == value_range[1]).any()  # something was clipped at all


class FarOff(nn.Module):
    """Predicts images of 100 and -100."""

    conditioning = "time"

    def forward(self, x, noise_level, label=None):
        return 100 * x.sign()


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_each_channel_is_clipped_to_its_own_range(sampler, generator, noise_source):
    normalizer = StandardizedNormalizer(3)
    normalizer.load_state_dict(
        {"mean": torch.tensor([10.0, 127.5, 200.0])[:, None, None], "std": torch.tensor([5.0, 50, 80])[:, None, None]}
    )
    denoiser, states = Denoiser(FarOff(), CosineSchedule(), Image()), []
    start = torch.randn(2, 3, 8, 8, generator=generator)
    samples = sampler(
        denoiser, start, noise_source(start.shape), value_range=normalizer.value_range, callback=states.append
    )
    borders = torch.tensor([[-2, 49], [-2.55, 2.55], [-2.5, 55 / 80]])
    for images in (samples, *(state.prediction.image for state in states)):
        torch.testing.assert_close(torch.stack(images.transpose(0, 1).flatten(1).aminmax(dim=1), 1), borders)
    assert normalizer.to_uint8(samples).unique().tolist() == [0, 255]


def test_without_clipping_the_prediction_is_left_alone(make_denoiser, start, noise_source):
    states, denoiser = [], make_denoiser(Noise(t_max=0.98))
    DDIM(3, clip=False)(denoiser, start, noise_source(start.shape), callback=states.append)
    assert states[0].prediction.image.abs().max() > 1
    with torch.no_grad():
        expected = denoiser(start, torch.full((2,), 0.98))
    assert torch.equal(states[0].prediction.image, expected.image)


class RoundedNetwork(nn.Module):
    """A network whose output carries bf16 precision, in bf16 or in float32."""

    conditioning = "time"

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x, noise_level, label=None):
        return (x * noise_level[:, None, None, None]).sin().bfloat16().to(self.dtype)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS, ids=lambda p: p.name)
def test_arithmetic_is_float32_for_a_network_in_bf16(sampler, parameterization, start, noise_source):
    samples, states = [], []
    for dtype in (torch.bfloat16, torch.float32):
        denoiser = Denoiser(RoundedNetwork(dtype), CosineSchedule(), parameterization)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            samples.append(sampler(denoiser, start, noise_source(start.shape), callback=states.append))
    assert torch.equal(samples[0], samples[1])
    assert all(part.dtype == torch.float32 for state in states for part in (state.x_t, *state.prediction))


def test_labels_reach_the_network_and_guidance_is_a_denoiser_like_any_other(make_denoiser, start, noise_source):
    denoiser = make_denoiser(Velocity(), num_classes=3)
    samples = [
        DDIM(3)(model, start, noise_source(start.shape), label=torch.tensor(label))
        for model, label in itertools.product((denoiser, ClassifierFreeGuidance(denoiser, 3.0)), ([0, 1], [2, 1]))
    ]
    for one, other in itertools.combinations(samples, 2):
        assert not torch.allclose(one[0], other[0], atol=1e-4)
    assert torch.equal(samples[0][1], samples[1][1])


def test_ddim_without_eta_asks_for_no_noise(make_denoiser, start):
    def none_there(step: int) -> torch.Tensor:
        raise AssertionError(f"step {step} asked for noise")

    DDIM(3)(make_denoiser(Velocity()), start, none_there)


@pytest.mark.parametrize("sampler", [DDIM(5, eta=1.0), DDPM(5)], ids=["ddim", "ddpm"])
def test_every_step_but_the_last_draws_its_own_noise(sampler, make_denoiser, start):
    asked: list[int] = []

    def noise(step: int) -> torch.Tensor:
        asked.append(step)
        return torch.zeros_like(start)

    sampler(make_denoiser(Velocity()), start, noise)
    assert asked == [0, 1, 2, 3]


def test_no_graph_is_kept(make_denoiser, start, noise_source):
    samples = DDIM(2)(make_denoiser(Velocity()), start, noise_source(start.shape))
    assert not samples.requires_grad


@pytest.mark.parametrize("eta", [-0.1, 1.1])
def test_eta_outside_its_range_is_refused(eta):
    with pytest.raises(ValueError, match=r"sampler.eta must lie in \[0, 1\]"):
        DDIM(3, eta=eta)


@pytest.mark.parametrize("variance_mix", [-0.1, 1.1])
def test_a_variance_mix_outside_its_range_is_refused(variance_mix):
    with pytest.raises(ValueError, match=r"sampler.variance_mix must lie in \[0, 1\]"):
        DDPM(3, variance_mix=variance_mix)


def test_samplers_say_what_they_are():
    assert (DDIM(3).name, DDPM(3).name) == ("ddim", "ddpm")
    assert (DDIM(3, eta=0.3).eta, DDPM(3).eta) == (0.3, None)


def test_half_a_variance_mix_is_the_geometric_mean_of_both(make_denoiser, start):
    """Nichol & Dhariwal 2021, eq. 15: with unit noise in the one step that draws any, x moves by the deviation."""
    denoiser, deviations = make_denoiser(Image()), []
    for mix in (0.0, 0.5, 1.0):
        ends = []
        for amount in (0.0, 1.0):
            states = []
            ddpm(
                denoiser,
                start,
                [0.9, 0.4, 0.0],
                lambda _, amount=amount: torch.full_like(start, amount),
                variance_mix=mix,
                callback=states.append,
            )
            ends.append(states[-1].x_t)
        deviations.append((ends[1] - ends[0]).mean())
    torch.testing.assert_close(deviations[1] ** 2, deviations[0] * deviations[2], rtol=1e-4, atol=0)
    assert deviations[2] > 1.1 * deviations[0]


def test_predict_gives_float32(make_denoiser, start):
    prediction = predict(make_denoiser(Velocity()), start, 0.5, None, (-1.0, 1.0))
    assert prediction.image.dtype == prediction.noise.dtype == torch.float32
