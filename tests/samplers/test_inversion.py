"""DDIM inversion: it finds the noise of the probability-flow ODE, and leads back to the image."""

import pytest
import torch

from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.schedules.flow import FlowSchedule
from ddpm_lightning.samplers.ddim import DDIM
from ddpm_lightning.samplers.inversion import ddim_inversion
from samplers.gaussian import IMAGE_SHAPE, GaussianDenoiser, marginal

Z = torch.randn(8, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def errors(schedule: Schedule, steps: int) -> tuple[float, float]:
    """Of the latent, against the ODE's exact solution, and of the round trip."""
    denoiser, ddim = GaussianDenoiser(schedule), DDIM(steps, t_max=0.98, clip=False)
    x_0 = marginal(schedule, 0.0, Z).reshape(-1, *IMAGE_SHAPE).float()
    latent = ddim_inversion(denoiser, x_0, ddim.times(denoiser))
    back = ddim.finish(denoiser, latent, lambda step: torch.zeros_like(latent))
    exact = marginal(schedule, 0.98, Z).reshape(-1, *IMAGE_SHAPE)
    return float((latent - exact).abs().max()), float((back - x_0).abs().max())


@pytest.mark.parametrize("schedule", [CosineSchedule(), FlowSchedule()], ids=["cosine", "flow"])
def test_both_errors_fall_with_the_step(schedule):
    coarse, fine = errors(schedule, 50), errors(schedule, 400)
    assert max(fine) < 0.05
    for before, after in zip(coarse, fine, strict=True):
        assert after < before / 5  # of first order: an eighth
