"""The classifier of Dhariwal & Nichol 2021: its published size, its pool, and what every network has."""

import pytest
import torch
from torch import nn

from choices import config_of
from ddpm_lightning.networks.adm_classifier import ADMClassifier, AttentionPool

SMALL = dict(channels=(8, 16, 16), blocks=1, attention_levels=(2,), head_channels=8, groups=4)


def by_hand(channels: list[int], blocks: int, attends: set[int], classes: int, colours: int, positions: int) -> int:
    """The parameters of guided-diffusion's EncoderUNetModel with pool="attention", layer by layer."""
    dim = 4 * channels[0]

    def conv(a: int, b: int, kernel: int) -> int:
        return a * b * kernel**2 + b

    def block(a: int, b: int) -> int:
        return 2 * a + conv(a, b, 3) + dim * 2 * b + 2 * b + 2 * b + conv(b, b, 3) + (0 if a == b else conv(a, b, 1))

    def attention(c: int) -> int:
        return 2 * c + conv(c, 3 * c, 1) + conv(c, c, 1)

    total, width = channels[0] * dim + dim + dim * dim + dim + conv(colours, channels[0], 3), channels[0]
    for level, c in enumerate(channels):
        for _ in range(blocks):
            total += block(width, c) + (attention(c) if level in attends else 0)
            width = c
        total += block(width, width) if level < len(channels) - 1 else 0
    total += 2 * block(width, width) + attention(width)
    pool = (positions + 1) * width + conv(width, 3 * width, 1) + conv(width, classes, 1)
    return total + 2 * width + pool


def test_the_yaml_is_the_papers_classifier_of_imagenet_64():
    options = {k: v for k, v in config_of("model", "adm_classifier").items() if k not in ("_target_", "conditioning")}
    with torch.device("meta"):
        network = ADMClassifier((3, 64, 64), 1000, **options)
    assert sum(p.numel() for p in network.parameters()) == by_hand(
        list(options["channels"]), options["blocks"], {1, 2, 3}, 1000, 3, 8 * 8
    )


def test_the_pool_is_the_first_token_of_self_attention(randomised):
    """Over the mean of all positions and each of them, with an embedding of every position added."""
    pool, x = randomised(AttentionPool(16, 6, 8, 5)), torch.randn(3, 16, 2, 3)
    tokens = torch.cat([x.mean((2, 3))[:, None], x.flatten(2).mT], dim=1) + pool.position
    attention = nn.MultiheadAttention(16, 2, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([pool.query.weight, pool.key_value.weight]))
        attention.in_proj_bias.copy_(torch.cat([pool.query.bias, pool.key_value.bias]))
        attention.out_proj.weight.copy_(torch.eye(16))
        attention.out_proj.bias.zero_()
    expected = pool.project(attention(tokens, tokens, tokens)[0][:, 0])
    torch.testing.assert_close(pool(x), expected)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 30), (1, 4, 4)], ids=str)
def test_it_takes_images_of_any_size(shape, randomised, inputs):
    x, level = inputs(5, *shape)
    network = randomised(ADMClassifier(shape, 3, **SMALL)).eval()
    logits = network(x, level)
    assert logits.shape == (5, 3) and logits.isfinite().all()
    for i in range(5):  # samples do not see each other
        torch.testing.assert_close(logits[i : i + 1], network(x[i : i + 1], level[i : i + 1]), rtol=1e-4, atol=1e-5)
    last = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last), level)
    torch.testing.assert_close(last, logits, rtol=1e-4, atol=1e-5)


def test_the_noise_level_and_every_pixel_matter(randomised, inputs):
    x, level = inputs(2, 1, 8, 8)
    network = randomised(ADMClassifier((1, 8, 8), 3, **SMALL)).eval()
    assert (network(x, level) - network(x, level.flip(0))).abs().max() > 1e-4
    (gradient,) = torch.autograd.grad(network(x.requires_grad_(), level)[:, 0].sum(), x)
    assert (gradient != 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(groups=3), "model.groups=3 must divide all widths"),
        (dict(channels=()), "model.channels must be widths of at least 1"),
        (dict(head_channels=7), "attention over 16 channels cannot have heads of 7 channels"),
        (dict(dropout=1.0), r"model.dropout must lie in \[0, 1\)"),
        (dict(attention_levels=(3,)), r"model.attention_levels \[3\] do not exist"),
    ],
)
def test_an_option_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ADMClassifier((1, 8, 8), 3, **{**SMALL, **options})


def test_images_smaller_than_a_coarsest_cell_are_refused():
    with pytest.raises(ValueError, match="too small for a network that halves them 2 times"):
        ADMClassifier((1, 3, 8), 3, **SMALL)
