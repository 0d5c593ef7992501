"""An exponential moving average of a network's parameters and running statistics."""

import copy

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """A second network whose parameters are a moving average of the first one's.

    Saved floating-point buffers, such as the running statistics of batch normalisation, are averaged as well: those of
    the network in training belong to its latest weights, not to the averaged ones. Other buffers are counts and
    constants, which are copied.

    It is deliberately not a submodule: a second network inside the model would be wrapped by DDP, listed by the
    optimizer and saved under the model's own key.

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
        saved = self.network.state_dict()
        self._statistics = {
            name for name, buffer in self.network.named_buffers() if name in saved and buffer.is_floating_point()
        }

    def decay_now(self) -> float:
        """The weight that the next update gives to the past."""
        return min(self.decay, (1 + self.num_updates) / (10 + self.num_updates)) if self.warmup else self.decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Average <- decay * average + (1 - decay) * network. Once per optimizer step."""
        averages: list[Tensor] = list(self.network.parameters())
        values: list[Tensor] = list(network.parameters())
        for (name, average), buffer in zip(self.network.named_buffers(), network.buffers(), strict=True):
            if name in self._statistics:
                averages.append(average)
                values.append(buffer)
            else:
                average.copy_(buffer)
        torch._foreach_lerp_(averages, values, 1 - self.decay_now())
        self.num_updates += 1

    def state_dict(self) -> dict[str, dict[str, Tensor] | int]:
        """The averaged network's parameters and buffers and the number of updates, as plain tensors and numbers."""
        return {"network": self.network.state_dict(), "num_updates": self.num_updates}

    def load_state_dict(self, state: dict) -> None:
        """Restores a state that `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.num_updates = state["num_updates"]
