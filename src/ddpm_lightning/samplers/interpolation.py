"""Interpolation between the noise of two samples."""

import torch
from torch import Tensor


def slerp(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Spherical interpolation between noise tensors, (n, *shape) for weights (n,) in [0, 1] (Shoemake 1985).

    Unlike a straight line, it keeps the length of standard normal vectors, and with it the distribution that a sampler
    expects (Song et al. 2021, "DDIM", appendix D.5). x, y: (*shape).
    """
    cosine = torch.dot(x.flatten(), y.flatten()) / (x.norm() * y.norm())
    angle = cosine.clamp(-1, 1).acos()
    weight = weight.reshape(-1, *[1] * x.dim())
    if angle.sin() < 1e-6:  # parallel or opposite, where no arc is defined
        return torch.lerp(x, y, weight)
    return (((1 - weight) * angle).sin() * x + (weight * angle).sin() * y) / angle.sin()
