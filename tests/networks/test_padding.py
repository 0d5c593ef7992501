import pytest
import torch

from ddpm_lightning.networks.padding import check_size, pad_to_multiple


@pytest.mark.parametrize(
    ("size", "padded_size"), [((8, 12), (8, 12)), ((7, 12), (8, 12)), ((9, 13), (12, 16)), ((1, 4), (4, 4))], ids=str
)
def test_padding_is_zeros_below_and_to_the_right(size, padded_size):
    x = torch.rand(2, 3, *size) + 1
    expected = torch.zeros(2, 3, *padded_size)
    expected[:, :, : size[0], : size[1]] = x
    assert torch.equal(pad_to_multiple(x, 4), expected)


@pytest.mark.parametrize("halvings", [0, 1, 3])
def test_the_smallest_image_has_one_pixel_at_the_coarsest_level(halvings):
    side = 2**halvings
    check_size((3, side, side), halvings)
    for height, width in ((side - 1, side), (side, side - 1)):
        with pytest.raises(ValueError, match=rf"{height}x{width} are .* {halvings} times: .* least {side} pixels"):
            check_size((3, height, width), halvings)
