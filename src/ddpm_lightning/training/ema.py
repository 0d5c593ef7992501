"""An exponential moving average of a network's parameters."""

import copy

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Keeps a second network whose parameters are the average of the first one's.

    It is no submodule of anything: a second network inside the model would be wrapped by DDP, listed by the optimizer
    and saved under the model's own key.

    Args:
        network: the network to follow.
        decay: weight of the past once warmed up, in [0, 1).
        warmup: whether the decay starts small, as (1 + n) / (10 + n) after n updates, so that the average forgets the
            random initialisation (TensorFlow's `ExponentialMovingAverage(num_updates)`).
    """

    def __init__(self, network: nn.Module, decay: float = 0.999, warmup: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema.decay must lie in [0, 1), not {decay}")
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.warmup = warmup
        self.num_updates = 0

    def decay_now(self) -> float:
        """The weight that the next update gives to the past."""
        return min(self.decay, (1 + self.num_updates) / (10 + self.num_updates)) if self.warmup else self.decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Average <- decay * average + (1 - decay) * parameters; buffers are copied. Once per optimizer step."""
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - self.decay_now())
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)
        self.num_updates += 1

    def state_dict(self) -> dict[str, dict[str, Tensor] | int]:
        """The averaged parameters and the number of updates, as plain tensors and numbers."""
        return {"network": self.network.state_dict(), "num_updates": self.num_updates}

    def load_state_dict(self, state: dict) -> None:
        """Restores what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.num_updates = state["num_updates"]
