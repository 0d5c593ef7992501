import math

import pytest
import torch
from torch import nn

from choices import make
from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.networks.batch_norm import GlobalBatchNorm2d
from ddpm_lightning.networks.embedding import FrequencyBandEmbedding
from ddpm_lightning.networks.keras_unet import ResidualBlock


def published() -> nn.Module:
    return make("model", "keras_unet", input_shape=(3, 28, 28), out_channels=3)


def test_the_published_size():
    """Per block of i to o channels: a 1x1 convolution if i differs from o, and two of 3x3, all with biases."""

    def parameters(i: int, o: int) -> int:
        return (i != o) * (i * o + o) + (9 * i * o + o) + (9 * o * o + o)

    down = [(64, 32), (32, 32), (32, 64), (64, 64), (64, 96), (96, 96)]
    middle = [(96, 128), (128, 128)]
    up = [(128 + 96, 96), (96 + 96, 96), (96 + 64, 64), (64 + 64, 64), (64 + 32, 32), (32 + 32, 32)]
    expected = (3 * 32 + 32) + sum(parameters(i, o) for i, o in down + middle + up) + (32 * 3 + 3)
    assert sum(p.numel() for p in published().parameters()) == expected == 1_950_627


@pytest.mark.parametrize("training", [True, False])
def test_it_is_the_network_of_the_keras_example(training, keras_unet, randomised, inputs):
    """The example written out for two levels of two blocks, from sums and products."""
    network = randomised(keras_unet(3, channels=(8, 12), blocks=2)).train(training)
    x, level = inputs(4, 3, 8, 6)

    def normalise(h: torch.Tensor, norm: GlobalBatchNorm2d) -> torch.Tensor:
        mean, var = h.mean((0, 2, 3)), h.var((0, 2, 3), unbiased=False)
        if not training:
            mean, var = norm.running_mean, norm.running_var
        return (h - mean.view(-1, 1, 1)) / (var.view(-1, 1, 1) + 1e-3).sqrt()

    def block(h: torch.Tensor, weights: ResidualBlock) -> torch.Tensor:
        residual = h if h.shape[1] == weights.conv_out.out_channels else weights.skip(h)
        h = weights.conv_in(normalise(h, weights.norm))
        return residual + weights.conv_out(h * torch.sigmoid(h))

    def twice(h: torch.Tensor, dim: int) -> torch.Tensor:
        """Bilinear with half-pixel centres: new pixels lie a quarter of an old one from the nearest old centre."""
        size = h.shape[dim]
        before = h.index_select(dim, torch.arange(-1, size - 1).clamp(min=0))
        after = h.index_select(dim, torch.arange(1, size + 1).clamp(max=size - 1))
        return torch.stack([0.25 * before + 0.75 * h, 0.75 * h + 0.25 * after], dim + 1).flatten(dim, dim + 1)

    with torch.no_grad():
        frequencies = torch.tensor([1000 ** (i / 3) for i in range(4)])
        angles = 2 * math.pi * frequencies * level[:, None]
        conditioning = torch.cat([angles.sin(), angles.cos()], dim=1)[:, :, None, None] * torch.ones(8, 6)
        h = torch.cat([network.conv_in(x), conditioning], dim=1)
        first = block(h, network.encoder[0][0])
        second = block(first, network.encoder[0][1])
        h = second.reshape(4, 8, 4, 2, 3, 2).mean((3, 5))
        h = block(block(h, network.middle[0]), network.middle[1])
        h = block(torch.cat([twice(twice(h, 2), 3), second], dim=1), network.decoder[0][0])
        h = block(torch.cat([h, first], dim=1), network.decoder[0][1])
        expected = network.conv_out(h)
        torch.testing.assert_close(network(x, level), expected, rtol=1e-4, atol=1e-4)


def test_the_initial_weights_are_keras_ones():
    network = published()
    kernels = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d) and m is not network.conv_out]
    for weight in kernels:
        limit = math.sqrt(6 / (weight[0].numel() + weight[:, 0].numel()))
        assert weight.abs().max() <= limit
        assert weight.var().item() == pytest.approx(limit**2 / 3, rel=6 / math.sqrt(weight.numel()))
    assert all((m.bias == 0).all() for m in network.modules() if isinstance(m, nn.Conv2d))


def test_a_new_network_outputs_zero(inputs):
    x, level = inputs(2, 3, 28, 28)
    assert torch.equal(published()(x, level), torch.zeros_like(x))


def test_the_gradient_reaches_every_parameter(keras_unet, inputs):
    network = keras_unet()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    x, level = inputs(3, 1, 8, 8)
    for _ in range(2):  # the output convolution starts at zero and passes the gradient after a step
        optimizer.zero_grad()
        (network(x, level) - x).square().mean().backward()
        optimizer.step()
    unreached = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert unreached == []


def test_each_sample_is_conditioned_on_its_own_noise_variance(keras_unet, randomised, inputs):
    x, level = inputs(2, 1, 16, 16)
    network = randomised(keras_unet()).eval()
    assert network.conditioning is Conditioning.NOISE_VARIANCE
    one, other = network(x, level), network(x, torch.stack([level[0], 1 - level[1]]))
    torch.testing.assert_close(one[0], other[0])
    assert (one[1] - other[1]).abs().max() > 1e-3


def test_channels_last_is_kept_through_every_block(keras_unet, inputs):
    network = keras_unet(3).to(memory_format=torch.channels_last)
    kept = []
    for module in network.modules():
        if isinstance(module, GlobalBatchNorm2d):
            module.register_forward_pre_hook(
                lambda _, x: kept.append(x[0].is_contiguous(memory_format=torch.channels_last))
            )
    network(*inputs(2, 3, 16, 16))
    assert kept == [True] * 5


def test_the_frequencies_span_the_band_geometrically():
    level = torch.tensor([0.0, 0.1, 0.73])
    embedded = FrequencyBandEmbedding(6, 1.0, 100.0)(level)
    for row, value in zip(embedded, level.tolist(), strict=True):
        angles = [2 * math.pi * f * value for f in (1, 10, 100)]
        expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        torch.testing.assert_close(row, torch.tensor(expected), rtol=0, atol=1e-4)


def test_an_odd_width_of_the_embedding_is_refused(keras_unet):
    with pytest.raises(ValueError, match=r"model\.embedding_dim must be an even number of at least 2, not 7"):
        keras_unet(embedding_dim=7)


def test_class_labels_are_refused(keras_unet, inputs):
    network, (x, level) = keras_unet(), inputs(2, 1, 8, 8)
    assert network.num_classes is None
    with pytest.raises(ValueError, match="model=keras_unet takes no class labels"):
        network(x, level, torch.tensor([0, 1]))
