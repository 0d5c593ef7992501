"""RePaint: the known pixels stay, the unknown ones follow their distribution given the known ones."""

from itertools import pairwise

import pytest
import torch

from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.ddpm import DDPM
from ddpm_lightning.samplers.generation import SampleStream
from ddpm_lightning.samplers.inpainting import RePaint
from ddpm_lightning.samplers.sampler import Sampler
from samplers.gaussian import COVARIANCE, IMAGE_SHAPE, MEAN, GaussianDenoiser

KNOWN = torch.tensor([[True, False], [True, False]])
X_0 = torch.tensor([[[2.5, 0.0], [2.0, 0.0]]])


def filled(repaint: RePaint, sampler: Sampler, count: int = 2000) -> torch.Tensor:
    denoiser = GaussianDenoiser(CosineSchedule())
    wide = (-10.0, 10.0)
    stream = SampleStream(denoiser, sampler, IMAGE_SHAPE, 0, torch.device("cpu"), wide)
    return repaint(stream, torch.arange(count), X_0, KNOWN)


def exact_moments() -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of the unknown pixels (1 and 3) given the known ones (0 and 2)."""
    known, unknown = [0, 2], [1, 3]
    gain = COVARIANCE[unknown][:, known] @ COVARIANCE[known][:, known].inverse()
    mean = MEAN[unknown] + gain @ (X_0.flatten()[known].double() - MEAN[known])
    return mean, COVARIANCE[unknown][:, unknown] - gain @ COVARIANCE[known][:, unknown]


def error_of_mean(samples: torch.Tensor) -> float:
    mean, _ = exact_moments()
    return float((samples.flatten(1)[:, [1, 3]].mean(0) - mean).abs().max())


def test_known_pixels_are_those_of_the_image():
    samples = filled(RePaint(2, 2), DDIM(5), count=3)
    assert torch.equal(samples[:, 0][:, KNOWN], X_0[0][KNOWN].expand(3, -1))
    assert samples.flatten(1).unique(dim=0).shape[0] == 3


def test_resampling_approaches_the_distribution_given_the_known_pixels():
    plain, resampled = (filled(RePaint(5, count), DDPM(40)) for count in (1, 10))
    assert error_of_mean(resampled) < 0.1
    assert error_of_mean(plain) > 0.3
    _, covariance = exact_moments()
    torch.testing.assert_close(resampled.flatten(1)[:, [1, 3]].T.cov().double(), covariance, atol=0.08, rtol=0)


def schedule_of_the_paper(steps: int, jump_length: int, samples: int) -> list[int]:
    """Their `get_schedule_jump`, with its numbers t + 1 as steps that are left."""
    jumps = dict.fromkeys(range(0, steps - jump_length, jump_length), samples - 1)
    t, times = steps, []
    while t >= 1:
        t -= 1
        times.append(t)
        if jumps.get(t, 0) > 0:
            jumps[t] -= 1
            for _ in range(jump_length):
                t += 1
                times.append(t)
    return [t + 1 for t in [*times, -1]]


@pytest.mark.parametrize(("steps", "jump_length", "resamplings"), [(250, 10, 10), (25, 10, 3), (7, 1, 2), (5, 9, 4)])
def test_the_walk_is_that_of_the_paper(steps, jump_length, resamplings):
    walk = RePaint(jump_length, resamplings).walk(steps)
    left = [steps - walk[0]]
    for before, after in pairwise(steps - node for node in walk):
        left += [after] if after < before else range(before + 1, after + 1)
    assert left == schedule_of_the_paper(steps, jump_length, resamplings)
    assert walk[-1] == steps


def test_one_resampling_takes_every_step_once():
    assert RePaint(10, 1).walk(4) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("option", ["jump_length", "resamplings"])
def test_an_option_below_one_is_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be at least 1, not 0"):
        RePaint(**{option: 0})
