"""Every normaliser: 256 values survive the round trip, and whatever a model makes is the nearest of them."""

from collections.abc import Sequence

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from choices import choices, make
from ddpm_lightning.data.normalizer import Normalizer
from properties.strategies import image_shapes, normals

PIXELS = image_shapes().flatmap(lambda shape: arrays(np.uint8, (4, *shape)))


class Images:
    """A training split that can be counted and read, and nothing else."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def images_at(self, indices: Sequence[int]) -> np.ndarray:
        return self._images[np.asarray(indices)]


@st.composite
def fitted(draw: st.DrawFn) -> tuple[Normalizer, np.ndarray]:
    """Every normaliser and the images it was fitted to, (4, C, H, W)."""
    pixels = draw(PIXELS)
    assume(all(channel.min() < channel.max() for channel in pixels.swapaxes(0, 1)))
    normalizer = make("normalizer", draw(st.sampled_from(choices("normalizer"))), channels=pixels.shape[1])
    normalizer.fit(Images(pixels))
    return normalizer, pixels


@given(fitted())
def test_images_survive_the_round_trip(case: tuple[Normalizer, np.ndarray]):
    normalizer, pixels = case
    inside = normalizer.to_model(torch.from_numpy(pixels))
    low, high = normalizer.value_range
    assert (inside.dtype, inside.shape) == (torch.float32, pixels.shape)
    assert (inside >= low).all() and (inside <= high).all()
    assert torch.equal(normalizer.to_uint8(inside), torch.from_numpy(pixels))


@given(fitted())
def test_every_value_survives_in_every_channel(case: tuple[Normalizer, np.ndarray]):
    normalizer, pixels = case
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, pixels.shape[1], 16, 16)
    assert torch.equal(normalizer.to_uint8(normalizer.to_model(every)), every)


@given(fitted(), st.data())
def test_an_image_of_the_model_becomes_the_nearest(case: tuple[Normalizer, np.ndarray], data: st.DataObject):
    """Within half of the 255 steps of its channel, after what lies outside was moved to the border."""
    normalizer, pixels = case
    made = 3 * data.draw(normals(*pixels.shape)).float()
    low, high = normalizer.value_range
    step = (high - low) / 255
    found = normalizer.to_model(normalizer.to_uint8(made))
    assert ((found - normalizer.clamp(made)).abs() <= step * 0.501).all()
