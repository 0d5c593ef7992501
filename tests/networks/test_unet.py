import pytest
import torch
from torch import nn

from ddpm_lightning.networks.unet import ResidualBlock, SelfAttention, group_norm


def test_a_new_network_outputs_zero(unet, inputs):
    x, level = inputs(2, 1, 28, 28)
    assert torch.equal(unet(num_classes=3)(x, level, torch.tensor([0, 1])), torch.zeros_like(x))


def test_a_new_residual_block_and_attention_are_the_identity():
    x, condition = torch.randn(2, 16, 5, 5), torch.randn(2, 32)
    assert torch.equal(ResidualBlock(16, 16, 32, dropout=0.0)(x, condition), x)
    assert torch.equal(SelfAttention(16, 8)(x), x)


def test_the_gradient_reaches_every_parameter(unet, inputs):
    """It passes zero-initialised layers one after the other: the output layer, then those inside the blocks."""
    network = unet(num_classes=2, channels=(8, 16), attention_levels=(0, 1))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    x, level = inputs(3, 1, 8, 8)
    for _ in range(3):
        optimizer.zero_grad()
        (network(x, level, torch.tensor([0, 1, 2])) - x).square().mean().backward()
        optimizer.step()
    unreached = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert unreached == []


def test_every_option_reaches_the_output(unet, randomised, inputs):
    x, level = inputs(2, 1, 16, 16)
    network = randomised(unet(num_classes=3))
    first = network(x, level, torch.tensor([0, 1]))
    other_label = network(x, level, torch.tensor([2, 1]))
    other_level = network(x, level.flip(0), torch.tensor([0, 1]))
    assert (first[0] - other_label[0]).abs().max() > 1e-3
    torch.testing.assert_close(first[1], other_label[1])
    assert (first - other_level).abs().amax((1, 2, 3)).min() > 1e-3


def test_attention_is_a_softmax_over_positions_for_each_head(randomised):
    attention = randomised(SelfAttention(16, 8))
    x = torch.randn(2, 16, 3, 5)
    q, k, v = attention.query_key_value(attention.norm(x)).flatten(2).split(16, dim=1)  # each (B, C, positions)
    attended = torch.empty_like(q)
    for head in (slice(0, 8), slice(8, 16)):
        weights = torch.softmax(q[:, head].mT @ k[:, head] / 8**0.5, dim=-1)  # (B, query, key)
        attended[:, head] = v[:, head] @ weights.mT
    torch.testing.assert_close(attention(x), x + attention.project(attended.reshape(x.shape)), rtol=1e-4, atol=1e-5)


def test_a_residual_block_is_conditioned_by_scale_and_shift(randomised):
    """Dhariwal & Nichol 2021, section 3: norm(h) (1 + scale) + shift, and no other use of the condition."""
    block = randomised(ResidualBlock(16, 32, 8, dropout=0.0))
    x, condition = torch.randn(2, 16, 4, 4), torch.randn(2, 8)
    scale, shift = block.scale_shift(condition)[:, :, None, None].split(32, dim=1)
    h = block.conv_in(nn.functional.silu(block.norm_in(x)))
    h = block.conv_out(nn.functional.silu(block.norm_out(h) * (1 + scale) + shift))
    torch.testing.assert_close(block(x, condition), block.skip(x) + h)


@pytest.mark.parametrize(("levels", "middle"), [((), False), ((0,), False), ((2,), True), ((0, 1, 2), True)], ids=str)
def test_attention_is_at_the_chosen_levels(levels, middle, unet):
    network = unet(attention_levels=levels)
    with_attention = [i for i, level in enumerate(network.encoder) if isinstance(level.attentions[0], SelfAttention)]
    decoder = [2 - i for i, level in enumerate(network.decoder) if isinstance(level.attentions[0], SelfAttention)]
    assert with_attention == sorted(decoder) == list(levels)
    assert isinstance(network.middle_attention, SelfAttention) is middle


def test_dropout_acts_only_in_training(unet, randomised, inputs):
    network = randomised(unet(dropout=0.5))
    x, level = inputs(1, 1, 16, 16)
    assert not torch.equal(network(x, level), network(x, level))
    network.eval()
    assert torch.equal(network(x, level), network(x, level))


@pytest.mark.parametrize("channels", [1, 8, 16, 24, 64, 96])
def test_groups_divide_the_channels(channels):
    norm = group_norm(channels)
    assert channels % norm.num_groups == 0
    assert channels // norm.num_groups <= 16


@pytest.mark.parametrize("levels", [(3,), (-1,)])
def test_attention_at_a_level_that_does_not_exist_is_refused(levels, unet):
    with pytest.raises(ValueError, match=r"attention_levels .* do not exist: there are levels 0 to 2"):
        unet(attention_levels=levels)


def test_heads_that_do_not_divide_the_width_are_refused(unet):
    with pytest.raises(ValueError, match="attention over 16 channels cannot have heads of 5 channels"):
        unet(head_channels=5)


def test_an_unknown_conditioning_is_refused_with_the_choices(unet):
    with pytest.raises(ValueError, match="unknown conditioning 'sigma': choose from time"):
        unet(conditioning="sigma")
