import pytest
import torch
from torch import nn

from ddpm_lightning.networks.unet import ResidualBlock, SelfAttention, UNet, group_norm


def unet(in_channels: int = 1, **options: object) -> UNet:
    """A small U-Net of three levels, attention at the coarsest."""
    torch.manual_seed(0)
    small = {"channels": (8, 16, 16), "blocks": 1, "attention_levels": (2,), "head_channels": 8}
    return UNet(in_channels, **small | options)


def randomised(network: nn.Module) -> nn.Module:
    """The same network with every parameter random: nothing is hidden by a layer that starts at zero."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network


def inputs(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(*shape, generator=generator), torch.rand(shape[0], generator=generator)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(28, 28), (32, 32), (64, 64), (17, 17), (29, 31), (4, 4)], ids=str)
def test_the_output_has_the_size_of_the_input(channels, size):
    x, level = inputs(2, channels, *size)
    with torch.no_grad():
        output = randomised(unet(channels))(x, level)
    assert output.shape == x.shape
    assert output.isfinite().all()
    assert (output[..., -1, -1] != 0).all()


def test_odd_sizes_are_padded_with_zeros_below_and_to_the_right_and_cropped_back():
    x, level = inputs(2, 1, 17, 30)
    network = randomised(unet())
    padded = nn.functional.pad(x, (0, 2, 0, 3))
    torch.testing.assert_close(network(x, level), network(padded, level)[..., :17, :30])


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("channels", [(8,), (8, 16), (8, 16, 24, 32)], ids=str)
def test_any_depth_and_number_of_blocks(blocks, channels):
    network = randomised(unet(channels=channels, blocks=blocks, attention_levels=(len(channels) - 1,)))
    x, level = inputs(2, 1, 16, 16)
    assert network(x, level).shape == x.shape


def test_a_new_network_answers_zero():
    x, level = inputs(2, 1, 28, 28)
    assert torch.equal(unet(num_classes=3)(x, level, torch.tensor([0, 1])), torch.zeros_like(x))


def test_a_new_residual_block_and_attention_are_the_identity():
    x, condition = torch.randn(2, 16, 5, 5), torch.randn(2, 32)
    assert torch.equal(ResidualBlock(16, 16, 32, dropout=0.0)(x, condition), x)
    assert torch.equal(SelfAttention(16, 8)(x), x)


def test_the_gradient_reaches_every_parameter():
    """Zero-initialised layers let it through one after the other: the output layer, then those inside the blocks."""
    network = unet(num_classes=2, channels=(8, 16), attention_levels=(0, 1))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    x, level = inputs(3, 1, 8, 8)
    for _ in range(3):
        optimizer.zero_grad()
        (network(x, level, torch.tensor([0, 1, 2])) - x).square().mean().backward()
        optimizer.step()
    unreached = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert unreached == []


def test_every_option_reaches_the_output():
    x, level = inputs(2, 1, 16, 16)
    network = randomised(unet(num_classes=3))
    first = network(x, level, torch.tensor([0, 1]))
    other_label = network(x, level, torch.tensor([2, 1]))
    other_level = network(x, level.flip(0), torch.tensor([0, 1]))
    assert (first[0] - other_label[0]).abs().max() > 1e-3
    torch.testing.assert_close(first[1], other_label[1])
    assert (first - other_level).abs().amax((1, 2, 3)).min() > 1e-3


def test_no_label_is_the_index_after_the_last_class():
    x, level = inputs(2, 1, 16, 16)
    network = randomised(unet(num_classes=3))
    assert torch.equal(network(x, level), network(x, level, torch.tensor([3, 3])))


def test_samples_of_a_batch_do_not_see_each_other():
    x, level = inputs(5, 1, 17, 20)
    network = randomised(unet())
    together = network(x, level)
    for i in range(5):
        torch.testing.assert_close(together[i : i + 1], network(x[i : i + 1], level[i : i + 1]), rtol=1e-4, atol=1e-5)


def test_channels_last_is_a_layout_and_nothing_else():
    x, level = inputs(2, 3, 28, 28)
    network = randomised(unet(3))
    contiguous = network(x, level)
    last = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last), level)
    torch.testing.assert_close(last, contiguous, rtol=1e-4, atol=1e-5)


def test_bf16_autocast_stays_close_to_float32_and_trains():
    x, level = inputs(4, 1, 28, 28)
    network = randomised(unet()).to(memory_format=torch.channels_last)
    gradients, outputs = [], []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = network(x, level)
        output.float().square().mean().backward()
        outputs.append(output.float())
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert output.dtype == torch.bfloat16
    error = (outputs[1] - outputs[0]).norm() / outputs[0].norm()
    assert 1e-5 < error < 0.03
    assert torch.cosine_similarity(*gradients, dim=0) > 0.995


def test_attention_is_a_softmax_over_positions_for_each_head():
    attention = randomised(SelfAttention(16, 8))
    x = torch.randn(2, 16, 3, 5)
    q, k, v = attention.query_key_value(attention.norm(x)).flatten(2).split(16, dim=1)  # each (B, C, positions)
    attended = torch.empty_like(q)
    for head in (slice(0, 8), slice(8, 16)):
        weights = torch.softmax(q[:, head].mT @ k[:, head] / 8**0.5, dim=-1)  # (B, query, key)
        attended[:, head] = v[:, head] @ weights.mT
    torch.testing.assert_close(attention(x), x + attention.project(attended.reshape(x.shape)), rtol=1e-4, atol=1e-5)


def test_a_residual_block_is_steered_by_scale_and_shift():
    """Dhariwal & Nichol 2021, section 3: norm(h) (1 + scale) + shift, with nothing else told to the block."""
    block = randomised(ResidualBlock(16, 32, 8, dropout=0.0))
    x, condition = torch.randn(2, 16, 4, 4), torch.randn(2, 8)
    scale, shift = block.scale_shift(condition)[:, :, None, None].split(32, dim=1)
    h = block.conv_in(nn.functional.silu(block.norm_in(x)))
    h = block.conv_out(nn.functional.silu(block.norm_out(h) * (1 + scale) + shift))
    torch.testing.assert_close(block(x, condition), block.skip(x) + h)


@pytest.mark.parametrize(("levels", "middle"), [((), False), ((0,), False), ((2,), True), ((0, 1, 2), True)], ids=str)
def test_attention_is_where_it_was_asked_for(levels, middle):
    network = unet(attention_levels=levels)
    with_attention = [i for i, level in enumerate(network.encoder) if isinstance(level.attentions[0], SelfAttention)]
    decoder = [2 - i for i, level in enumerate(network.decoder) if isinstance(level.attentions[0], SelfAttention)]
    assert with_attention == sorted(decoder) == list(levels)
    assert isinstance(network.middle_attention, SelfAttention) is middle


def test_dropout_acts_in_training_alone():
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
def test_attention_at_a_level_that_is_not_there_is_refused(levels):
    with pytest.raises(ValueError, match=r"attention_levels .* do not exist: there are levels 0 to 2"):
        unet(attention_levels=levels)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="attention over 16 channels cannot have heads of 5 channels"):
        unet(head_channels=5)


def test_a_network_without_blocks_is_refused():
    with pytest.raises(ValueError, match=r"model.blocks must be at least 1, not 0"):
        unet(blocks=0)


def test_an_unknown_conditioning_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown conditioning 'sigma': choose from time"):
        unet(conditioning="sigma")


@pytest.mark.parametrize("shape", [(1, 3, 28), (1, 28, 2), (3, 1, 1)])
def test_images_smaller_than_a_coarsest_cell_are_refused(shape):
    with pytest.raises(ValueError, match=r"too small for a network that halves them 2 times: .* at least 4 pixels"):
        unet().check_images(shape)


def test_images_of_one_coarsest_cell_are_taken():
    unet().check_images((1, 4, 4))
