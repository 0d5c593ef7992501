import math

import pytest
import torch

from ddpm_lightning.networks.embedding import ConditionEmbedding, SinusoidalEmbedding


def test_sinusoids_by_hand():
    """Vaswani et al. 2017, section 3.5, at the integer steps 1000 t, sines first."""
    dim, levels = 8, [0.0, 0.001, 0.37, 1.0]
    ours = SinusoidalEmbedding(dim)(torch.tensor(levels))
    for row, level in zip(ours, levels, strict=True):
        angles = [1000 * level / 10_000 ** (2 * i / dim) for i in range(dim // 2)]
        expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        torch.testing.assert_close(row, torch.tensor(expected), rtol=0, atol=1e-4)


def test_neighbouring_steps_differ():
    embedded = SinusoidalEmbedding(64)(torch.arange(1, 1001) / 1000)
    assert torch.pdist(embedded).min() > 0.1


def test_angles_are_float32_even_in_a_module_cast_to_bf16():
    level = torch.tensor([0.4321])
    cast = SinusoidalEmbedding(4).bfloat16()(level)
    assert cast.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(SinusoidalEmbedding(4)(level), SinusoidalEmbedding(4)(level.double()))


def test_an_odd_width_is_refused():
    with pytest.raises(ValueError, match="an even number of dimensions, not 7"):
        SinusoidalEmbedding(7)


def test_every_class_and_no_label_have_their_own_vector():
    embed = ConditionEmbedding(8, 16, num_classes=3)
    level = torch.tensor([0.2]).expand(4)
    assert torch.pdist(embed(level, torch.arange(4))).min() > 0.1
    with pytest.raises(IndexError):
        embed(level, torch.tensor([0, 1, 2, 4]))


def test_without_classes_the_level_alone_is_embedded():
    embed = ConditionEmbedding(8, 16)
    level = torch.tensor([0.2, 0.7])
    assert torch.equal(embed(level, None), embed.noise_level(level))


def test_span_stretches_the_level_to_the_range_of_times():
    """A level from 0 to 30 is embedded as a time from 0 to 1 is."""
    level = torch.tensor([0.1, 0.5, 0.9])
    torch.manual_seed(0)
    times = ConditionEmbedding(8, 16)
    stretched = ConditionEmbedding(8, 16, span=30.0)
    stretched.load_state_dict(times.state_dict())
    torch.testing.assert_close(stretched(30 * level), times(level), rtol=0, atol=1e-4)


def test_each_sample_gets_its_own_level_and_label():
    embed = ConditionEmbedding(8, 16, num_classes=3)
    level, label = torch.tensor([0.2, 0.7]), torch.tensor([2, 0])
    both = embed(level, label)
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1], embed(level[i : i + 1], label[i : i + 1]))
