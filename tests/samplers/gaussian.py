"""Data x_0 ~ N(mu, C), whose optimal denoiser is known, and the exact moments of a sampler's samples."""

from collections.abc import Callable

import torch
from torch import Tensor

from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Prediction
from ddpm_lightning.samplers.sampler import Sampler

MEAN = torch.tensor([0.5, -1.0, 0.2, 0.0], dtype=torch.float64)
ROOT = torch.tensor(
    [[0.8, 0.0, 0.0, 0.0], [0.3, 0.5, 0.0, 0.0], [-0.2, 0.1, 1.2, 0.0], [0.0, 0.0, 0.1, 0.1]], dtype=torch.float64
)
COVARIANCE = ROOT @ ROOT.T
IMAGE_SHAPE = (1, 2, 2)
EIGENVALUES, EIGENVECTORS = torch.linalg.eigh(COVARIANCE)


def function_of_covariance(f: Callable[[Tensor], Tensor]) -> Tensor:
    """The symmetric matrix (4, 4) with the eigenvectors of C and f of its eigenvalues."""
    return (EIGENVECTORS * f(EIGENVALUES)) @ EIGENVECTORS.T


class GaussianDenoiser:
    """The exact expectations of x_0 and eps given x_t, both affine in x_t."""

    t_max = 1.0
    num_classes = None
    knows_none = True
    learns_variance = False

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def describe(self) -> dict[str, str]:
        return {"name": "none"}

    def evaluations_at(self, t: float) -> int:
        return 1

    def predicts_at(self, t: float) -> bool:
        return True

    def __call__(
        self, x_t: Tensor, t: Tensor, label: Tensor | None = None, estimate: Tensor | None = None
    ) -> Prediction:
        alpha, sigma = self.schedule.rates(t[0].double())  # all samples are at one time
        whitened = (x_t.flatten(1).double() - alpha * MEAN) @ function_of_covariance(
            lambda c: 1 / (alpha**2 * c + sigma**2)
        )
        x_0 = MEAN + alpha * whitened @ COVARIANCE
        return Prediction(x_0.reshape(x_t.shape), (sigma * whitened).reshape(x_t.shape))


def marginal(schedule: Schedule, t: float, z: Tensor) -> Tensor:
    """x_t, (B, 4), made of standard normal z, (B, 4): alpha mu + (alpha^2 C + sigma^2)^(1/2) z.

    For a fixed z it solves the probability-flow ODE.
    """
    alpha, sigma = schedule.rates(torch.tensor(t, dtype=torch.float64))
    return alpha * MEAN + z @ function_of_covariance(lambda c: (alpha**2 * c + sigma**2).sqrt())


def sampled_moments(sampler: Sampler, schedule: Schedule, start: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Exact mean (4,) and covariance (4, 4) of the samples that start from x_T = start(z), z (B, 4) standard normal.

    A sampler of these data is an affine map of z and of the noise of each step. Fed a zero and each unit vector of all
    of these, it shows that map.
    """
    denoiser = GaussianDenoiser(schedule)
    times = sampler.times(denoiser)
    inputs = 4 * (sampler.steps + 1)  # z, then the noise of every step
    unit = torch.cat([torch.zeros(1, inputs), torch.eye(inputs)]).reshape(-1, sampler.steps + 1, *IMAGE_SHAPE)
    x = start(unit[:, 0].flatten(1).double()).reshape(-1, *IMAGE_SHAPE).float()
    samples = sampler.loop(denoiser, x, times, lambda step: unit[:, step + 1], clip=None).flatten(1).double()
    mean, jacobian = samples[0], samples[1:] - samples[0]
    return mean, jacobian.T @ jacobian
