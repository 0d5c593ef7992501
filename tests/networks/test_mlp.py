"""The multilayer perceptron against its formula."""

import pytest
import torch


@pytest.mark.parametrize("shape", [(3, 16, 16), (3, 4, 5)])
def test_it_is_two_linear_maps_of_pixels_and_time(small, randomised, inputs, shape):
    x, level = inputs(2, *shape)
    network = randomised(small("mlp", shape))
    first, _, last = network.layers
    hidden = (torch.cat([x.flatten(1), level[:, None]], 1) @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(network(x, level).flatten(1), hidden @ last.weight.T + last.bias)


def test_a_label_is_refused(small, inputs):
    x, level = inputs(2, 1, 4, 4)
    with pytest.raises(ValueError, match=r"model=mlp takes no class labels"):
        small("mlp", (1, 4, 4))(x, level, torch.tensor([0, 1]))


def test_a_hidden_layer_without_units_is_refused(small):
    with pytest.raises(ValueError, match=r"model.hidden must be at least 1, not 0"):
        small("mlp", (1, 4, 4), hidden=0)
