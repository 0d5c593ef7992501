"""A multilayer perceptron for tiny images: the smallest network that denoises."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.networks.layers import zero_init


class MLP(nn.Module):
    """All pixels and the noise level through one hidden layer: linear, ReLU, linear.

    Args:
        input_shape: (C, H, W) of the input.
        out_channels: number of channels of the output.
        hidden: width of the hidden layer.
        conditioning: measure of the noise level that the network is given, as one more input.

    Raises:
        ValueError: `hidden` is below 1.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        out_channels: int,
        hidden: int = 128,
        conditioning: Conditioning | str = Conditioning.TIME,
    ) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"model.hidden must be at least 1, not {hidden}")
        self.conditioning = Conditioning(conditioning)
        self.num_classes = None
        self.output_shape = (out_channels, *input_shape[1:])
        self.layers = nn.Sequential(
            nn.Linear(prod(input_shape) + 1, hidden), nn.ReLU(), zero_init(nn.Linear(hidden, prod(self.output_shape)))
        )

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor | None = None) -> Tensor:
        """x: (B, C, H, W), of the size it was made for; noise_level: (B,); label: None.

        Returns (B, out_channels, H, W).

        Raises:
            ValueError: a label is given.
        """
        if label is not None:
            raise ValueError("model=mlp takes no class labels: leave them out, or use model=unet")
        level = noise_level[:, None].to(x.dtype) / self.conditioning.span
        output: Tensor = self.layers(torch.cat([x.flatten(1), level], dim=1))
        return output.unflatten(1, self.output_shape)
