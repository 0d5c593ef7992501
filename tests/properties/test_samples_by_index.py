"""A sample is a function of its index: chunks, ranks and neighbours do not change it."""

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from choices import make
from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.denoiser import Denoiser
from ddpm_lightning.diffusion.target import Velocity
from ddpm_lightning.samplers.generation import SampleStream, chunk_indices
from properties.strategies import SEEDS, image_shapes, samplers

ROUNDING = 1e-5  # kernels may round differently for another batch size
COUNTS, CHUNK_SIZES = st.integers(1, 40), st.integers(1, 50)


class PixelNetwork(nn.Module):
    """Mixes an image with its noise level and class."""

    conditioning = Conditioning.TIME
    num_classes = 3

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor) -> Tensor:
        return torch.tanh(x + x.mean((1, 2, 3), keepdim=True) + (noise_level + label)[:, None, None, None])


@st.composite
def streams(draw: st.DrawFn) -> SampleStream:
    """With every sampler."""
    denoiser = Denoiser(PixelNetwork(), make("schedule", "cosine"), Velocity())
    return SampleStream(denoiser, draw(samplers()), draw(image_shapes()), draw(SEEDS), torch.device("cpu"))


def drawn(stream: SampleStream, chunks: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([stream.draw(chunk) for chunk in chunks])


@given(streams(), COUNTS, CHUNK_SIZES)
def test_chunks_do_not_change_the_samples(stream: SampleStream, count: int, chunk_size: int):
    whole = stream.draw(torch.arange(count))
    chunked = drawn(replace(stream, chunk_size=chunk_size), chunk_indices(count, chunk_size, 0, 1))
    torch.testing.assert_close(chunked, whole, rtol=0, atol=ROUNDING)


@given(streams(), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8, unique=True))
def test_neighbours_do_not_change_a_sample(stream: SampleStream, indices: list[int]):
    together = stream.draw(torch.tensor(indices))
    alone = drawn(stream, torch.tensor(indices).split(1))
    torch.testing.assert_close(together, alone, rtol=0, atol=ROUNDING)
    if len(indices) > 1:
        assert not torch.equal(together[0], together[1])


@given(COUNTS, CHUNK_SIZES, st.integers(1, 9))
def test_ranks_take_the_chunks_of_one_process_in_turn(count: int, chunk_size: int, world_size: int):
    alone = chunk_indices(count, chunk_size, 0, 1)
    ranks = [chunk_indices(count, chunk_size, rank, world_size) for rank in range(world_size)]
    assert torch.equal(torch.cat(alone), torch.arange(count))
    assert all(1 <= len(chunk) <= chunk_size for chunk in alone)
    dealt = {number: ranks[number % world_size][number // world_size] for number in range(len(alone))}
    assert all(torch.equal(dealt[number], chunk) for number, chunk in enumerate(alone))
    assert sum(map(len, ranks)) == len(alone)
