"""uint8 -> the model's range -> uint8."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from ddpm_lightning.data.normalizer import StandardizedNormalizer, SymmetricNormalizer

EVERY_VALUE = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)


class Images:
    """A training split that can be counted and read, and nothing else."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def images_at(self, indices: Sequence[int]) -> np.ndarray:
        return self.images[np.asarray(indices)]


def colourful(count: int = 1500) -> np.ndarray:
    """More images than are counted at once, whose channels are dark, full of contrast, and bright."""
    rng = np.random.default_rng(0)
    channels = rng.normal([[[[10]], [[120]], [[240]]]], [[[[1]], [[90]], [[6]]]], (count, 3, 4, 5))
    return channels.round().clip(0, 255).astype(np.uint8)


@pytest.fixture
def standardized() -> StandardizedNormalizer:
    normalizer = StandardizedNormalizer(3)
    normalizer.fit(Images(colourful()))
    return normalizer


class TestSymmetric:
    def test_all_256_values_survive_the_round_trip(self):
        normalizer = SymmetricNormalizer(1)
        inside = normalizer.to_model(EVERY_VALUE)
        assert inside.dtype == torch.float32
        assert (inside.min().item(), inside.max().item()) == normalizer.value_range == (-1.0, 1.0)
        torch.testing.assert_close(inside.flatten(), torch.linspace(-1, 1, 256))
        assert torch.equal(normalizer.to_uint8(inside), EVERY_VALUE)

    def test_it_is_this_formula_to_the_bit(self):
        assert torch.equal(SymmetricNormalizer(1).to_model(EVERY_VALUE), EVERY_VALUE.float() / 127.5 - 1.0)

    def test_to_uint8_rounds_to_the_nearest_and_clamps(self):
        step = 2 / 255
        images = torch.tensor([[[-7.0, -1 + 0.49 * step, -1 + 0.51 * step, 1 - 0.49 * step, 1.01, float("inf")]]])
        assert SymmetricNormalizer(1).to_uint8(images).flatten().tolist() == [0, 0, 1, 255, 255, 255]

    def test_it_learns_nothing_and_leaves_nothing_in_a_checkpoint(self):
        normalizer = SymmetricNormalizer(3)
        normalizer.fit(Images(colourful()))
        assert normalizer.state_dict() == {}
        assert normalizer.value_range == (-1.0, 1.0)


class TestStandardized:
    def test_mean_and_deviation_are_numpys(self, standardized):
        images = colourful().astype(np.float64)
        assert standardized.mean.shape == standardized.std.shape == (3, 1, 1)
        np.testing.assert_allclose(standardized.mean.flatten(), images.mean((0, 2, 3)), rtol=1e-7)
        np.testing.assert_allclose(standardized.std.flatten(), images.std((0, 2, 3)), rtol=1e-7)

    def test_the_training_split_gets_mean_0_and_deviation_1(self, standardized):
        inside = standardized.to_model(torch.from_numpy(colourful())).double()
        assert inside.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
        assert inside.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-5)

    def test_one_pixel_among_millions_is_not_lost_in_rounding(self):
        images = np.full((1100, 1, 64, 64), 255, np.uint8)
        images[700, 0, 3, 4] = 254
        normalizer = StandardizedNormalizer(1)
        normalizer.fit(Images(images))
        share = 1 / images.size
        assert normalizer.std.item() == pytest.approx((share * (1 - share)) ** 0.5, rel=1e-6)

    def test_the_order_of_the_images_changes_no_bit(self, standardized):
        other = StandardizedNormalizer(3)
        other.fit(Images(colourful()[::-1]))
        assert torch.equal(other.mean, standardized.mean)
        assert torch.equal(other.std, standardized.std)

    def test_all_256_values_survive_the_round_trip_in_each_channel(self, standardized):
        values = EVERY_VALUE.expand(2, 3, 16, 16)
        inside = standardized.to_model(values)
        assert inside.dtype == torch.float32
        assert torch.equal(standardized.to_uint8(inside), values)

    def test_each_channel_has_its_own_range(self, standardized):
        low, high = standardized.value_range
        mean, std = standardized.mean.double(), standardized.std.double()
        torch.testing.assert_close(low.double(), -mean / std)
        torch.testing.assert_close(high.double(), (255 - mean) / std)
        for value, border in ((0, low), (255, high)):
            assert torch.equal(standardized.to_model(torch.full((3, 1, 1), value, dtype=torch.uint8)), border)

    def test_what_lies_beyond_a_channels_range_becomes_0_or_255(self, standardized):
        low, high = standardized.value_range
        levels = (1 / standardized.std).expand(3, 1, 1)
        images = torch.stack([low - 100, low - levels, low + levels, high - levels, high + levels, high * torch.inf])
        assert standardized.to_uint8(images).flatten(1).tolist() == [[v] * 3 for v in (0, 0, 1, 254, 255, 255)]

    def test_another_one_gets_its_numbers_by_its_state(self, standardized):
        other = StandardizedNormalizer(3)
        other.load_state_dict(standardized.state_dict())
        images = torch.from_numpy(colourful(5))
        assert standardized.state_dict().keys() == {"mean", "std"}
        assert torch.equal(other.to_model(images), standardized.to_model(images))

    def test_without_its_numbers_all_is_nan(self):
        assert StandardizedNormalizer(1).to_model(EVERY_VALUE).isnan().all()

    def test_clamping_moves_values_to_the_border_of_the_range(self, standardized):
        low, high = standardized.value_range
        beyond = standardized.clamp(torch.stack([low - 1, high + 1]))
        assert torch.equal(beyond, torch.stack([low, high]))
        inside = standardized.to_model(torch.from_numpy(colourful(5)))
        assert torch.equal(standardized.clamp(inside), inside)

    @pytest.mark.parametrize("value", [0, 7, 255])
    def test_a_channel_that_is_the_same_everywhere_is_refused(self, value):
        images = colourful(50)
        images[:, 1] = value
        with pytest.raises(ValueError, match="channel 1 is the same in every pixel of the 50 training images"):
            StandardizedNormalizer(3).fit(Images(images))

    def test_no_images_are_refused(self):
        with pytest.raises(ValueError, match="is the same in every pixel of the 0 training images"):
            StandardizedNormalizer(3).fit(Images(colourful(0)))

    def test_a_split_with_other_channels_is_refused(self):
        with pytest.raises(ValueError, match=r"images must be \(..., 1, height, width\), not \(1024, 3, 4, 5\)"):
            StandardizedNormalizer(1).fit(Images(colourful()))


@pytest.mark.parametrize("kind", [SymmetricNormalizer, StandardizedNormalizer])
class TestBoth:
    def test_images_that_are_floats_already_are_refused(self, kind):
        with pytest.raises(TypeError, match=r"takes uint8 images, got torch\.float32"):
            kind(1).to_model(torch.zeros(1, 1, 1))

    @pytest.mark.parametrize("shape", [(2, 1, 4, 4), (4, 4)])
    def test_images_of_other_channels_are_not_broadcast(self, kind, shape):
        for given in (kind(3).to_model, kind(3).to_uint8):
            images = torch.zeros(shape, dtype=torch.uint8 if given.__name__ == "to_model" else torch.float32)
            with pytest.raises(ValueError, match=r"images must be \(..., 3, height, width\)"):
                given(images)
