"""The U-Net of ConvNeXt blocks: its sizes, its attention and its conditions."""

import pytest
import torch

from ddpm_lightning.networks.convnext_unet import ConvNeXtBlock
from ddpm_lightning.networks.layers import SelfAttention


@pytest.mark.parametrize(
    ("size", "sizes"),
    [((28, 28), [(28, 28), (14, 14), (7, 7), (3, 3)]), ((17, 30), [(17, 30), (8, 15), (4, 7), (2, 3)])],
)
def test_it_halves_every_size_and_returns_to_it(small, randomised, inputs, size, sizes):
    x, level = inputs(2, 1, *size)
    network = randomised(small("convnext_unet", (1, *size), channels=(8, 16, 16, 16)))
    seen = []
    for stage in (*network.encoder, *network.decoder):
        stage.register_forward_hook(lambda module, arguments, outputs: seen.append(tuple(outputs[-1].shape[2:])))
    assert network(x, level).shape == x.shape
    assert seen == sizes + sizes[::-1]


def test_attention_follows_every_block(small):
    network = small("convnext_unet", (1, 28, 28), blocks=2)
    blocks = [module for module in network.modules() if isinstance(module, ConvNeXtBlock)]
    attentions = [module for module in network.modules() if isinstance(module, SelfAttention)]
    assert len(blocks) == len(attentions) == 2 * 3 + 1 + 2 * 3


def test_a_block_adds_time_and_class_before_its_norm(randomised):
    block = randomised(ConvNeXtBlock(4, 6, expansion=2, time_dim=8, label_dim=8))
    x, time, label = torch.randn(2, 4, 9, 9), torch.randn(2, 8), torch.randn(2, 8)
    condition = block.time(time) + block.label(label)
    h = block.norm(block.depthwise(x) + condition[:, :, None, None])
    expected = block.skip(x) + block.project(torch.nn.functional.gelu(block.expand(h)))
    torch.testing.assert_close(block(x, time, label), expected)
    assert block.depthwise.kernel_size == (7, 7) and block.depthwise.groups == 4
    assert block.norm.num_groups == 1


def test_an_expansion_below_one_is_refused(small):
    with pytest.raises(ValueError, match=r"model.expansion must be at least 1, not 0"):
        small("convnext_unet", (1, 28, 28), expansion=0)
