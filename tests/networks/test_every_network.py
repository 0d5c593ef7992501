"""Properties of every network in conf/model that denoises."""

import pytest
import torch
from torch import nn

from choices import choices, config_of, make
from ddpm_lightning.diffusion.conditioning import Conditioning

MODELS = [model for model in choices("model") if "classifier" not in model]
every_model = pytest.mark.parametrize("model", MODELS)
WITH_CLASSES = [model for model in MODELS if "num_classes" in config_of("model", model)]
WITH_LEVELS = [model for model in MODELS if "channels" in config_of("model", model)]
every_unet = pytest.mark.parametrize("build", WITH_LEVELS, indirect=True)


@pytest.fixture(params=MODELS)
def build(request, small):
    """`build(input_shape, out_channels=None, **options)`: a small network of three levels."""
    return lambda *arguments, **options: small(request.param, *arguments, **options)


@every_model
def test_the_yaml_alone_makes_a_network(model, inputs):
    options = {"conditioning": "time"} if "conditioning" in config_of("model", model) else {}
    network = make("model", model, input_shape=(1, 8, 8), out_channels=1, **options)
    assert isinstance(network.conditioning, Conditioning)
    assert network.num_classes is None
    x, level = inputs(1, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(network.eval()(x, level, None), torch.zeros_like(x))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(28, 28), (32, 32), (64, 64), (17, 17), (29, 31), (4, 4)], ids=str)
def test_the_output_has_the_size_of_the_input(build, channels, size, randomised, inputs):
    x, level = inputs(2, channels, *size)
    with torch.no_grad():
        output = randomised(build((channels, *size)))(x, level)
    assert output.shape == x.shape
    assert output.isfinite().all()
    assert (output[..., -1, -1] != 0).all()


@pytest.mark.parametrize(("channels", "out_channels"), [(1, 2), (3, 1), (3, 6)])
def test_the_output_has_the_requested_channels(build, channels, out_channels, randomised, inputs):
    x, level = inputs(2, channels, 9, 8)
    output = randomised(build((channels, 9, 8), out_channels))(x, level)
    assert output.shape == (2, out_channels, 9, 8)
    assert torch.unique(output.flatten(2), dim=1).shape[1] == out_channels


def test_odd_sizes_are_padded_with_zeros_and_cropped_back(build, randomised, inputs):
    """Zeros below and to the right."""
    x, level = inputs(2, 1, 17, 30)
    network = randomised(build((1, 17, 30)))
    if not hasattr(network, "size_multiple"):
        pytest.skip("this network does not pad")
    padded = nn.functional.pad(x, (0, 2, 0, 3))
    torch.testing.assert_close(network(x, level), network(padded, level)[..., :17, :30])


@every_unet
@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("channels", [(8,), (8, 16), (8, 16, 24, 32)], ids=str)
def test_any_number_of_levels_and_blocks(build, blocks, channels, randomised, inputs):
    x, level = inputs(2, 1, 16, 16)
    assert randomised(build((1, 16, 16), channels=channels, blocks=blocks))(x, level).shape == x.shape


def test_in_evaluation_samples_do_not_see_each_other(build, randomised, inputs):
    x, level = inputs(5, 1, 17, 20)
    network = randomised(build((1, 17, 20))).eval()
    together = network(x, level)
    for i in range(5):
        torch.testing.assert_close(together[i : i + 1], network(x[i : i + 1], level[i : i + 1]), rtol=1e-4, atol=1e-5)


def test_channels_last_is_a_layout_and_nothing_else(build, randomised, inputs):
    x, level = inputs(2, 3, 28, 28)
    network = randomised(build((3, 28, 28))).eval()
    contiguous = network(x, level)
    last = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last), level)
    torch.testing.assert_close(last, contiguous, rtol=1e-4, atol=1e-5)


def test_bf16_autocast_stays_close_to_float32_and_trains(build, randomised, inputs):
    x, level = inputs(4, 1, 28, 28)
    network = randomised(build((1, 28, 28))).to(memory_format=torch.channels_last)
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


@pytest.mark.parametrize("model", WITH_CLASSES)
def test_each_class_and_no_label_have_different_outputs(model, small, randomised, inputs):
    network = randomised(small(model, (1, 8, 8), num_classes=3)).eval()
    assert network.num_classes == 3
    x, level = inputs(1, 1, 8, 8)
    answers = network(x.expand(4, -1, -1, -1), level.expand(4), torch.arange(4))
    assert torch.pdist(answers.flatten(1)).min() > 1e-3


@every_unet
def test_a_network_without_blocks_is_refused(build):
    with pytest.raises(ValueError, match=r"model.blocks must be at least 1, not 0"):
        build((1, 28, 28), blocks=0)


@every_unet
@pytest.mark.parametrize("shape", [(1, 3, 28), (1, 28, 2), (3, 1, 1)])
def test_images_smaller_than_a_coarsest_cell_are_refused(build, shape):
    with pytest.raises(ValueError, match=r"too small for a network that halves them 2 times: .* at least 4 pixels"):
        build(shape)
