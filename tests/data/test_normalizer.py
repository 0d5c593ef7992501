"""uint8 -> [-1, 1] -> uint8."""

import pytest
import torch

from ddpm_lightning.data.normalizer import Normalizer


def test_all_256_values_survive_the_round_trip() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    inside = Normalizer().to_model(values)
    assert inside.dtype == torch.float32
    assert (inside[0].item(), inside[-1].item()) == Normalizer().value_range == (-1.0, 1.0)
    torch.testing.assert_close(inside, torch.linspace(-1, 1, 256))
    assert torch.equal(Normalizer().to_uint8(inside), values)


def test_to_uint8_rounds_to_the_nearest_and_clamps() -> None:
    step = 2 / 255
    images = torch.tensor([-7.0, -1 + 0.49 * step, -1 + 0.51 * step, 1 - 0.49 * step, 1.01, float("inf")])
    assert Normalizer().to_uint8(images).tolist() == [0, 0, 1, 255, 255, 255]


def test_images_that_are_floats_already_are_refused() -> None:
    with pytest.raises(TypeError, match=r"takes uint8 images, got torch\.float32"):
        Normalizer().to_model(torch.zeros(1))
