"""Samples by index: the same in any chunk and on any rank."""

import dataclasses

import pytest
import torch

from choices import make
from ddpm_lightning.diffusion.guidance import ClassifierFreeGuidance
from ddpm_lightning.diffusion.target import Velocity
from ddpm_lightning.samplers.ddpm import DDPM
from ddpm_lightning.samplers.generation import SampleStream, chunk_indices
from ddpm_lightning.samplers.labels import one_label
from ddpm_lightning.samplers.trajectory import record_trajectory
from samplers.every_sampler import samplers

SAMPLERS = samplers(steps=3)


@pytest.fixture(params=SAMPLERS.values(), ids=SAMPLERS.keys())
def stream(request, make_denoiser) -> SampleStream:
    return SampleStream(
        denoiser=make_denoiser(Velocity(), num_classes=3),
        sampler=request.param,
        image_shape=(1, 8, 8),
        seed=4,
        device=torch.device("cpu"),
        chunk_size=4,
    )


def images(stream: SampleStream, count: int) -> torch.Tensor:
    return torch.cat([stream.draw(indices) for indices in chunk_indices(count, stream.chunk_size, 0, 1)])


@pytest.mark.parametrize("chunk_size", [1, 3, 10, 250])
def test_samples_do_not_depend_on_the_chunk_size(stream, chunk_size):
    other = dataclasses.replace(stream, chunk_size=chunk_size)
    torch.testing.assert_close(images(other, 10), images(stream, 10), rtol=0, atol=1e-5)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_samples_are_bit_identical_on_any_number_of_ranks(stream, world_size):
    dealt = [chunk for rank in range(world_size) for chunk in chunk_indices(10, stream.chunk_size, rank, world_size)]
    indices = torch.cat(dealt)
    assert torch.equal(indices.sort().values, torch.arange(10))  # each exactly once
    assert torch.equal(torch.cat([stream.draw(chunk) for chunk in dealt])[indices.argsort()], images(stream, 10))


def test_a_sample_does_not_depend_on_the_number_drawn(stream):
    torch.testing.assert_close(images(stream, 6), images(stream, 10)[:6], rtol=0, atol=1e-5)
    assert torch.equal(images(stream, 8), images(stream, 10)[:8])  # whole chunks are bit-identical


def test_samples_with_chosen_indices(stream):
    chosen = torch.tensor([7, 2, 9])
    torch.testing.assert_close(stream.draw(chosen), images(stream, 10)[chosen], rtol=0, atol=1e-5)


def test_samples_differ_from_each_other_and_with_the_seed(stream):
    ten, other = images(stream, 10), images(dataclasses.replace(stream, seed=5), 10)
    everything = torch.cat([ten, other]).flatten(1)
    distances = torch.cdist(everything, everything) + torch.eye(20) * 100
    assert distances.min() > 0.1


def test_the_first_noise_and_every_steps_are_independent(stream):
    drawn: list[torch.Tensor] = []

    class Recorder(DDPM):
        def loop(self, denoiser, x, times, noise, *others):
            drawn.extend([x, noise(0), noise(1), noise(2), noise(0)])
            return x

    dataclasses.replace(stream, sampler=Recorder(3)).draw(torch.arange(200))
    assert torch.equal(drawn[4], drawn[1])
    correlation = torch.corrcoef(torch.stack([part.flatten() for part in drawn[:4]])) - torch.eye(4)
    assert correlation.abs().max() < 5 / drawn[0].numel() ** 0.5


def test_sampling_leaves_the_global_generator_alone(stream):
    before = torch.get_rng_state()
    images(stream, 4)
    assert torch.equal(torch.get_rng_state(), before)


def test_classes_take_turns_by_default(stream):
    assert stream.labels(torch.tensor([0, 1, 2, 3, 10])).tolist() == [0, 1, 2, 0, 1]
    guided = dataclasses.replace(stream, denoiser=ClassifierFreeGuidance(stream.denoiser, 2.0))
    assert torch.equal(guided.labels(torch.arange(9)), stream.labels(torch.arange(9)))
    assert not torch.allclose(images(guided, 4), images(stream, 4), atol=1e-3)


def test_labels_of_sets_the_class_of_each_sample(stream):
    chosen = dataclasses.replace(stream, labels_of=one_label(2, 3))
    assert chosen.labels(torch.arange(5)).tolist() == [2] * 5
    difference = (images(chosen, 6) - images(stream, 6)).abs().amax((1, 2, 3))
    assert (difference > 1e-3).tolist() == [True, True, False] * 2


def test_a_model_without_classes_gets_no_labels(stream, make_denoiser):
    """Even with `labels_of`."""
    plain = dataclasses.replace(stream, denoiser=make_denoiser(Velocity()), labels_of=one_label(2, 3))
    assert plain.labels(torch.arange(3)) is None
    assert plain.draw(torch.arange(3)).isfinite().all()


@pytest.mark.parametrize("chunk_size", [0, -1])
def test_a_chunk_without_samples_is_refused(stream, chunk_size):
    with pytest.raises(ValueError, match=f"chunk_size must be at least 1, not {chunk_size}"):
        dataclasses.replace(stream, chunk_size=chunk_size)


def test_a_trajectory_goes_from_the_first_noise_to_the_samples(stream):
    stream = dataclasses.replace(stream, sampler=dataclasses.replace(stream.sampler, steps=9))
    indices = torch.tensor([3, 5])
    frames = record_trajectory(stream, indices, num_frames=4)
    assert frames.shape == (4, 2, 1, 8, 8)
    nodes: list[torch.Tensor] = []
    assert torch.equal(frames[-1], stream.draw(indices, lambda state: nodes.append(state.x_t)))
    torch.testing.assert_close(frames[:-1], torch.stack(nodes[::3]))  # at the first of the 10 nodes, the 4th, the 7th
    assert frames[0].std() > 0.8


def test_a_trajectory_has_no_more_frames_than_nodes(stream):
    assert len(record_trajectory(stream, torch.arange(2), num_frames=50)) == 4


def test_frames_of_an_exploding_path_are_scaled_down(make_denoiser):
    denoiser = make_denoiser(make("predict", "edm"), make("schedule", "edm"))
    stream = SampleStream(denoiser, SAMPLERS["ddim"], (1, 8, 8), seed=4, device=torch.device("cpu"))
    frames = record_trajectory(stream, torch.arange(8), num_frames=4)
    assert frames[0].std() == pytest.approx(1, abs=0.1)
    assert frames.abs().max() < 5
