"""Batch normalisation with the statistics of the global batch, on one process or several."""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F


class _SumOverRanks(torch.autograd.Function):
    """all_reduce with a gradient: torch's public one is deprecated, and its successor is private.

    The loss of every rank depends on the sum, so the gradient of a rank's term is the sum of all ranks' gradients.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _sum_over_ranks(gradient)


def _sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, on each of them; gradients flow through it."""
    return _SumOverRanks.apply(tensor)


def _several_ranks() -> bool:
    """True if other processes hold a part of the batch."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


class GlobalBatchNorm2d(nn.Module):
    """Batch normalisation without scale and shift (Ioffe & Szegedy 2015): each channel to mean 0 and variance 1.

    In training the mean and the variance are those of the micro-batch on all ranks together, so training on one process
    equals training on several; torch's `SyncBatchNorm` does the same, but not on the CPU. With gradient accumulation,
    each micro-batch is normalised by its own statistics, not by those of the step's whole batch.

    In evaluation they are the running statistics, in which each training batch replaces the share 1 - `decay`. As in
    torch the running variance is unbiased, while a batch is normalised by its biased variance.

    Args:
        channels: number of channels.
        decay: share of the past in the running statistics, in [0, 1): Keras's momentum, and 1 minus torch's.
        eps: added to the variance.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, decay: float = 0.99, eps: float = 1e-3) -> None:
        super().__init__()
        self.decay = decay
        self.eps = eps
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W). Returns the same shape and dtype; statistics are at least float32, also under autocast.

        Raises:
            ValueError: in training, if a channel has a single value: one image of one pixel.
        """
        if self.training and _several_ranks():
            return self._normalise_over_ranks(x)
        update = 1 - self.decay
        return F.batch_norm(x, self.running_mean, self.running_var, None, None, self.training, update, self.eps)

    def _normalise_over_ranks(self, x: Tensor) -> Tensor:
        """The result of `F.batch_norm` if x held the batches of all ranks.

        First the mean, then the squared deviations from it: the shortcut E[x^2] - E[x]^2 would save one exchange of a
        hundred numbers, but lose the variance of a channel whose mean is far from zero to rounding.
        """
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        count = values.new_tensor([x.numel() // x.shape[1]])
        total, count = _sum_over_ranks(torch.cat([values.sum((0, 2, 3)), count])).split([x.shape[1], 1])
        mean = total / count
        deviations = values - mean[:, None, None]
        squares = _sum_over_ranks(deviations.square().sum((0, 2, 3)))
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean), 1 - self.decay)
            self.running_var.lerp_((squares / (count - 1)).to(self.running_var), 1 - self.decay)
        return (deviations * torch.rsqrt(squares / count + self.eps)[:, None, None]).to(x.dtype)
