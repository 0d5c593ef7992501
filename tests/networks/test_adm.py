"""The U-Net of Dhariwal & Nichol 2021: its published size, its modulation, its resampling."""

import pytest
import torch
from torch import nn

from choices import config_of
from ddpm_lightning.networks.adm import ADM, ResidualBlock

IMAGENET_64 = 295_904_454
"""Parameters of the published model of 64x64 ImageNet images with learned variances."""


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def by_hand(channels: list[int], blocks: int, attends: set[int], classes: int, colours: int, out: int) -> int:
    """The published architecture's parameters, layer by layer, with one vector per class."""
    dim = 4 * channels[0]

    def conv(a: int, b: int, kernel: int) -> int:
        return a * b * kernel**2 + b

    def block(a: int, b: int) -> int:
        modulation = dim * 2 * b + 2 * b
        skip = 0 if a == b else conv(a, b, 1)
        return 2 * a + conv(a, b, 3) + modulation + 2 * b + conv(b, b, 3) + skip

    def attention(c: int) -> int:
        return 2 * c + conv(c, 3 * c, 1) + conv(c, c, 1)

    total = channels[0] * dim + dim + dim * dim + dim + classes * dim + conv(colours, channels[0], 3)
    width, skips = channels[0], [channels[0]]
    for level, c in enumerate(channels):
        for _ in range(blocks):
            total += block(width, c) + (attention(c) if level in attends else 0)
            width = c
            skips.append(width)
        if level < len(channels) - 1:
            total += block(width, width)
            skips.append(width)
    total += 2 * block(width, width) + attention(width)
    for level in reversed(range(len(channels))):
        for _ in range(blocks + 1):
            total += block(width + skips.pop(), channels[level]) + (
                attention(channels[level]) if level in attends else 0
            )
            width = channels[level]
        total += block(width, width) if level else 0
    return total + 2 * width + conv(width, out, 3)


@pytest.mark.parametrize("modulation", ["joint", "separate"])
def test_both_modulations_have_the_published_number_of_parameters(modulation):
    """With the vector for "no label", which the published model lacks."""
    options = {k: v for k, v in config_of("model", "adm").items() if k not in ("_target_", "conditioning")}
    with torch.device("meta"):
        network = ADM((3, 64, 64), 6, **{**options, "num_classes": 1000, "modulation": modulation})
    assert by_hand(list(options["channels"]), options["blocks"], {1, 2, 3}, 1000, 3, 6) == IMAGENET_64
    assert count_parameters(network) == IMAGENET_64 + 4 * 192


@pytest.fixture
def recorded(small, randomised):
    """`recorded(**options)`: what scales and what shifts in the first block, for two times and two classes."""

    def run(**options: object) -> tuple[torch.Tensor, torch.Tensor]:
        network = randomised(small("adm", (1, 8, 8), num_classes=3, **options)).eval()
        seen: dict[str, torch.Tensor] = {}
        block = network.encoder[0].block
        for name in ("scale", "shift"):
            getattr(block, name).register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
        times, labels = torch.tensor([0.2, 0.8, 0.2, 0.8]), torch.tensor([0, 0, 1, 1])
        network(torch.randn(1, 1, 8, 8).expand(4, -1, -1, -1), times, labels)
        return seen["scale"].reshape(2, 2, -1), seen["shift"].reshape(2, 2, -1)  # class, time

    return run


def test_separately_the_time_scales_and_the_class_shifts(recorded):
    scale, shift = recorded(modulation="separate")
    torch.testing.assert_close(scale[0], scale[1])
    torch.testing.assert_close(shift[:, 0], shift[:, 1])
    assert (scale[:, 0] != scale[:, 1]).all() and (shift[0] != shift[1]).all()


def test_jointly_both_do_both(recorded):
    for part in recorded(modulation="joint"):
        assert (part[0] != part[1]).all() and (part[:, 0] != part[:, 1]).all()


def test_an_unknown_modulation_is_refused(small):
    with pytest.raises(ValueError, match=r"unknown model.modulation 'both': choose from separate, joint"):
        small("adm", (1, 8, 8), modulation="both")


def test_groups_must_divide_the_widths(small):
    with pytest.raises(ValueError, match=r"model.groups=3 must divide all widths in model.channels=\[8, 16, 16\]"):
        small("adm", (1, 8, 8), groups=3)


@pytest.mark.parametrize("index", [0, 1, 2, 6], ids=["plain", "down", "wider", "narrower"])
def test_a_rescaled_sum_is_smaller_by_the_root_of_two(small, randomised, index):
    blocks = [
        [
            m
            for m in randomised(small("adm", (1, 8, 8), rescale_residual=value)).modules()
            if isinstance(m, ResidualBlock)
        ]
        for value in (False, True)
    ]
    plain, rescaled = (of_network[index] for of_network in blocks)
    x, condition = torch.randn(2, plain.norm_in.num_channels, 4, 4), torch.randn(2, 32)
    torch.testing.assert_close(rescaled(x, condition, condition) * 2**0.5, plain(x, condition, condition))


def test_attention_is_rescaled_as_well(small, randomised):
    plain, rescaled = (randomised(small("adm", (1, 8, 8), rescale_residual=value)).middle[0] for value in (False, True))
    x = torch.randn(2, 16, 2, 2)
    torch.testing.assert_close(rescaled.attention(x) * 2**0.5, plain.attention(x))


@pytest.mark.parametrize(
    ("resample", "by_hand"),
    [
        (nn.AvgPool2d(2), lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))),
        (nn.Upsample(scale_factor=2.0), lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    ],
    ids=["down", "up"],
)
def test_both_branches_are_resampled_before_the_first_convolution(randomised, resample, by_hand):
    """Means of 2x2 pixels and repetition, as in BigGAN's blocks (Brock et al. 2019)."""
    block = randomised(ResidualBlock(8, 4, 6, 2, 0.0, 1.0, resample))
    x, for_scale, for_shift = torch.randn(3, 8, 4, 4), torch.randn(3, 6), torch.randn(3, 6)
    h = block.norm_out(block.conv_in(by_hand(nn.functional.silu(block.norm_in(x)))))
    h = h * (1 + block.scale(for_scale))[:, :, None, None] + block.shift(for_shift)[:, :, None, None]
    expected = block.skip(by_hand(x)) + block.conv_out(nn.functional.silu(h))
    torch.testing.assert_close(block(x, for_scale, for_shift), expected)
