"""Spherical interpolation."""

import math

import torch

from ddpm_lightning.samplers.interpolation import slerp


def test_it_goes_from_one_end_to_the_other_at_a_constant_angle():
    x, y = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    path = slerp(x, y, torch.linspace(0, 1, 4))
    angles = torch.linspace(0, math.pi / 2, 4)
    torch.testing.assert_close(path, 3 * torch.stack([angles.cos(), angles.sin()], 1))


def test_the_length_of_noise_stays():
    x, y = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    lengths = slerp(x, y, torch.linspace(0, 1, 5)).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, lengths[:1].expand(5), rtol=0.03, atol=0)
    straight = torch.lerp(x, y, 0.5).norm()
    assert straight < 0.8 * lengths[2]


def test_parallel_ends_are_no_division_by_zero():
    x = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(slerp(x, 3 * x, torch.tensor([0.0, 0.5, 1.0])), torch.stack([x, 2 * x, 3 * x]))
