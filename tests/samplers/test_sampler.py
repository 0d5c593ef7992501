"""Properties of every sampler."""

import pytest
import torch
from torch import nn

from choices import choices, make
from ddpm_lightning.data.normalizer import StandardizedNormalizer
from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.guidance import ClassifierFreeGuidance
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.target import Image, Noise, Velocity
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.sampler import check_start, predict
from samplers.every_sampler import for_every_sampler, is_random
from samplers.gaussian import IMAGE_SHAPE, GaussianDenoiser

every_sampler = for_every_sampler(steps=3)
every_target = pytest.mark.parametrize("target", choices("predict"))


def check_predictions(states, schedule):
    """x_t = alpha x_0 + sigma eps for every predicted pair."""
    for state in states:
        rates = schedule.rates(torch.full((2,), state.t)).broadcast_to(state.x_t)
        explained = rates.alpha * state.prediction.x_0 + rates.sigma * state.prediction.eps
        torch.testing.assert_close(explained, state.x_t, rtol=1e-5, atol=1e-5)


@every_target
@pytest.mark.parametrize("schedule", choices("schedule"))
@pytest.mark.parametrize("clip", [True, False])
def test_predictions_explain_x_t_on_every_path(schedule, target, clip, make_denoiser, start, noise_source):
    schedule, states = make("schedule", schedule), []
    denoiser = make_denoiser(make("predict", target), schedule)
    sampler = DDIM(3, clip=clip)
    samples = sampler(denoiser, start, noise_source(start.shape), callback=states.append)
    first = schedule.rates(torch.tensor(states[0].t, dtype=torch.float64))
    torch.testing.assert_close(states[0].x_t, start * first.std().float())
    assert states[0].t == denoiser.t_max
    assert samples.std() > 0.005
    assert not clip or samples.abs().max() <= 1
    check_predictions(states, schedule)


@every_sampler
@pytest.mark.parametrize("conditioning", list(Conditioning))
def test_every_sampler_with_every_conditioning(sampler, conditioning, make_denoiser, start, noise_source):
    denoiser, states = make_denoiser(Noise(), conditioning=conditioning), []
    samples = sampler(denoiser, start, noise_source(start.shape), callback=states.append)
    assert samples.shape == start.shape
    assert samples.dtype == torch.float32
    assert samples.abs().max() <= 1
    assert samples.std() > 0.005
    check_predictions(states, denoiser.schedule)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
@for_every_sampler()
def test_any_number_of_steps_ends_at_the_image(sampler, steps, make_denoiser, start, noise_source):
    """The last step goes to t = 0, where x is the (clipped) image that was predicted last."""
    states = []
    sampler = type(sampler)(**{**vars(sampler), "steps": steps})
    samples = sampler(make_denoiser(Velocity()), start, noise_source(start.shape), callback=states.append)
    assert len(states) == steps
    torch.testing.assert_close(samples, states[-1].prediction.x_0, rtol=0, atol=1e-6)


@every_sampler
def test_the_callback_sees_every_node(sampler, make_denoiser, start, noise_source):
    """A sampler that first moves x to a higher noise level shows it there."""
    states = []
    denoiser = make_denoiser(Noise(t_max=0.9))
    sampler(denoiser, start, noise_source(start.shape), callback=states.append)
    assert [state.step for state in states] == [0, 1, 2]
    nodes = [0.9, 0.6, 0.3]
    if getattr(sampler, "churn", 0) == 0:
        assert [state.t for state in states] == pytest.approx(nodes)
        assert torch.equal(states[0].x_t, start)
    else:
        assert all(state.t > node for state, node in zip(states, nodes, strict=True))


@every_sampler
def test_the_callback_changes_nothing(sampler, make_denoiser, start, noise_source):
    denoiser = make_denoiser(Velocity())
    unwatched, watched = (
        sampler(denoiser, start, noise_source(start.shape), callback=c) for c in (None, lambda _: None)
    )
    assert torch.equal(unwatched, watched)


@every_sampler
@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 0.25)], ids=str)
def test_clipping_keeps_x_0_in_range_and_eps_consistent(sampler, value_range, make_denoiser, start, noise_source):
    states, denoiser = [], make_denoiser(Noise(t_max=0.98))
    sampler(denoiser, start, noise_source(start.shape), value_range=value_range, callback=states.append)
    for state in states:
        assert value_range[0] <= state.prediction.x_0.min()
        assert state.prediction.x_0.max() <= value_range[1]
    check_predictions(states, denoiser.schedule)
    assert (states[0].prediction.x_0 == value_range[1]).any()  # something was clipped


class FarOff(nn.Module):
    """Predicts images of 100 and -100."""

    conditioning, num_classes = "time", None

    def forward(self, x, noise_level, label=None):
        return 100 * x.sign()


@every_sampler
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
    for images in (samples, *(state.prediction.x_0 for state in states)):
        torch.testing.assert_close(torch.stack(images.transpose(0, 1).flatten(1).aminmax(dim=1), 1), borders)
    assert normalizer.to_uint8(samples).unique().tolist() == [0, 255]


def test_without_clipping_the_prediction_is_unchanged(make_denoiser, start, noise_source):
    states, denoiser = [], make_denoiser(Noise(t_max=0.98))
    DDIM(3, clip=False)(denoiser, start, noise_source(start.shape), callback=states.append)
    assert states[0].prediction.x_0.abs().max() > 1
    with torch.no_grad():
        expected = denoiser(states[0].x_t, torch.full((2,), 0.98))
    assert torch.equal(states[0].prediction.x_0, expected.x_0)


class RoundedNetwork(nn.Module):
    """A network whose output carries bf16 precision, in bf16 or in float32."""

    conditioning, num_classes = "time", None

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x, noise_level, label=None):
        return (x * noise_level[:, None, None, None]).sin().bfloat16().to(self.dtype)


@every_sampler
@every_target
def test_arithmetic_is_float32_for_a_network_in_bf16(sampler, target, start, noise_source):
    samples, states = [], []
    for dtype in (torch.bfloat16, torch.float32):
        denoiser = Denoiser(RoundedNetwork(dtype), CosineSchedule(), make("predict", target))
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            samples.append(sampler(denoiser, start, noise_source(start.shape), callback=states.append))
    assert torch.equal(samples[0], samples[1])
    parts = [part for state in states for part in (state.x_t, state.prediction.x_0, state.prediction.eps)]
    assert all(part.dtype == torch.float32 for part in parts)


@every_sampler
def test_labels_reach_the_network(sampler, make_denoiser, start, noise_source):
    """Also with guidance, which is a denoiser. Sample 1 keeps its label, and so its image."""
    denoiser = make_denoiser(Velocity(), num_classes=3)
    answers = []
    for model in (denoiser, ClassifierFreeGuidance(denoiser, 3.0)):
        one, other = (
            sampler(model, start, noise_source(start.shape), label=torch.tensor(label)) for label in ([0, 1], [2, 1])
        )
        assert not torch.allclose(one[0], other[0], atol=1e-4)
        torch.testing.assert_close(one[1], other[1])
        answers += [one, other]
    assert not torch.allclose(answers[0], answers[2], atol=1e-4)


@every_sampler
def test_a_model_without_classes_is_given_no_label(sampler, make_denoiser, start, noise_source):
    with pytest.raises(ValueError, match="this model has no classes: omit the label"):
        sampler(make_denoiser(Velocity()), start, noise_source(start.shape), label=torch.tensor([0, 1]))


@for_every_sampler(steps=5)
def test_noise_is_drawn_only_if_it_is_needed(sampler, make_denoiser, start):
    """By the number of the step; the last step, to the image, draws none, except for churn before it."""
    asked: list[int] = []

    def noise(step: int) -> torch.Tensor:
        asked.append(step)
        return torch.zeros_like(start)

    sampler(make_denoiser(Noise(t_max=0.9)), start, noise)
    churned = getattr(sampler, "churn", 0) > 0
    assert asked == (list(range(5 if churned else 4)) if is_random(sampler) else [])


@every_sampler
def test_no_graph_is_kept(sampler, make_denoiser, start, noise_source):
    samples = sampler(make_denoiser(Velocity()), start, noise_source(start.shape))
    assert not samples.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_samples_are_float32_whatever_the_start_is(dtype, make_denoiser, start, noise_source):
    start = start.to(dtype)
    one, other = (DDIM(3)(make_denoiser(Image()), x, noise_source(x.shape)) for x in (start, start.float()))
    assert one.dtype == torch.float32
    assert torch.equal(one, other)


def test_predict_gives_float32(generator):
    x = torch.randn(2, *IMAGE_SHAPE, generator=generator)
    for clip in (None, (-1.0, 1.0)):
        prediction = predict(GaussianDenoiser(CosineSchedule()), x, 0.5, None, None, clip)  # its outputs are float64
        assert prediction.x_0.dtype == prediction.eps.dtype == torch.float32


def test_a_start_without_signal_is_refused_with_a_remedy(make_denoiser):
    """Only for predicted noise, and only if no signal is left."""
    flow = make("schedule", "flow")
    check_start(make_denoiser(Noise(), flow), 0.99)
    check_start(make_denoiser(Velocity(), flow), 1.0)
    with pytest.raises(
        ValueError,
        match=r"at t = 1, .* no signal: train with another predict=... \(velocity, image\), or .* sampler.t_max=0.98",
    ):
        check_start(make_denoiser(Noise(), flow), 1.0)
