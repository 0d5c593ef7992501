"""The network is diffusers' UNet2DModel, called with our times and our label for "none"."""

import copy
import sys

import pytest
import torch
from diffusers import UNet2DModel


@pytest.fixture
def network(small, randomised):
    """`network(input_shape, **options)`: with random weights."""
    return lambda input_shape=(1, 28, 28), **options: randomised(small("unet_diffusers", input_shape, **options)).eval()


def test_it_equals_the_library_called_directly(network, inputs):
    ours = network()
    theirs = UNet2DModel.from_config(ours.unet.config).eval()
    theirs.load_state_dict(ours.unet.state_dict())
    x, _ = inputs(3, 1, 28, 28)
    for k in (0, 9, 499, 999):
        t = torch.full((3,), (k + 1) / 1000)
        torch.testing.assert_close(ours(x, t), theirs(x, k).sample, rtol=0, atol=1e-5)


def test_classes_are_the_librarys_class_labels(network, inputs):
    ours = network(num_classes=2)
    x, t = inputs(3, 1, 28, 28)
    label = torch.tensor([0, 1, 2])
    assert torch.equal(ours(x, t, label), ours.unet(x, 1000 * t - 1, label).sample)
    assert ours.unet.config.num_class_embeds == 3


@pytest.mark.parametrize(("levels", "middle"), [((), False), ((0,), False), ((2,), True), ((0, 2), True)], ids=str)
def test_attention_is_at_the_chosen_levels(levels, middle, network):
    unet = network(attention_levels=levels).unet
    encoder = [i for i, block in enumerate(unet.down_blocks) if hasattr(block, "attentions")]
    decoder = [2 - i for i, block in enumerate(unet.up_blocks) if hasattr(block, "attentions")]
    assert encoder == sorted(decoder) == list(levels)
    assert (unet.mid_block.attentions[0] is not None) is middle


@pytest.mark.parametrize(
    ("channels", "groups"), [((32, 64, 64), 2), ((64, 128, 256), 4), ((8, 16, 16), 1), ((48, 80, 80), 1)]
)
def test_one_number_of_groups_divides_every_width(channels, groups, network):
    assert network(channels=channels, attention_levels=()).unet.config.norm_num_groups == groups


def test_a_copy_is_independent_as_an_average_needs_it(network, inputs):
    ours = network()
    x, t = inputs(1, 1, 28, 28)
    copied = copy.deepcopy(ours)
    assert torch.equal(copied(x, t), ours(x, t))
    with torch.no_grad():
        next(ours.parameters()).add_(1)
    assert not torch.equal(copied(x, t), ours(x, t))


def test_dropout_acts_only_in_training(network, inputs):
    ours = network(dropout=0.5)
    x, t = inputs(1, 1, 28, 28)
    assert torch.equal(ours(x, t), ours(x, t))
    ours.train()
    assert not torch.equal(ours(x, t), ours(x, t))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention_levels": (3,)}, r"model.attention_levels \[3\] do not exist: there are levels 0 to 2"),
        ({"head_channels": 5}, "model.head_channels=5 does not divide the 16 channels of its level"),
    ],
)
def test_attention_that_cannot_be_is_refused(options, message, network):
    with pytest.raises(ValueError, match=message):
        network(**options)


def test_without_the_library_it_says_how_to_install_it(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ValueError, match=r"model=unet_diffusers needs: pip install 'ddpm-lightning\[diffusers\]'"):
        network()
