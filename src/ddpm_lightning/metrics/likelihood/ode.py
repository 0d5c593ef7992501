"""The exact likelihood of a model whose samples come from the probability-flow ODE (Song et al. 2021, section 4.3).

On every path, z = x_t / n with n^2 = alpha^2 + sigma^2 is cos(phi) x_0 + sin(phi) eps, where tan(phi) = sigma / alpha.
The ODE in the angle phi is dz/dphi = v(z, phi) = cos(phi) eps - sin(phi) x_0, with the predicted x_0 and eps (the
velocity of Salimans & Ho 2022, appendix D, where n = 1). It is finite also where sigma or alpha is 0, and needs no
derivative of either. Along a solution, d log p(z) / dphi = - div v.
"""

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddpm_lightning.diffusion.denoiser import Denoiser, DenoiserLike
from ddpm_lightning.diffusion.randomness import Purpose, keyed_uniform
from ddpm_lightning.metrics.likelihood.images import LabelledImages, bits_per_dimension
from ddpm_lightning.samplers.grid import SPACING_FLOOR
from ddpm_lightning.tracking import advance

MOST_NOISE = 0.15
"""Largest sigma / alpha at the clean end: the standard deviation of about 20 grey levels."""


class Node(NamedTuple):
    """A node of the grid: the time, the angle phi = atan2(sigma, alpha), and n = sqrt(alpha^2 + sigma^2)."""

    t: float
    phi: float
    n: float


@dataclass(frozen=True)
class ODELikelihood:
    """The density at the clean end of the ODE that starts from normal noise, and from it bits per dimension.

    Solved by Heun's method on nodes with evenly spaced log SNR; the divergence is Hutchinson's estimate, from one
    Rademacher probe for each image and draw. An image becomes a point of its 256-valued bins by adding uniform noise:
    the mean of -log2 of the density over such draws is an upper bound on that of the image's probability.

    Args:
        steps: of the solver, at least 1; each costs two evaluations and their gradients with respect to x_t.
        dequantizations: K, at least 1, the number of draws whose bits per dimension are averaged.
        t_min: the clean end, from the schedule's t_min on, where the ODE's x_t / alpha is the image; None for that.
        t_max: the noisy end, at most 1; None for the time at which the model's samples start.

    Raises:
        ValueError: an option is out of range.
    """

    steps: int = 100
    dequantizations: int = 1
    t_min: float | None = None
    t_max: float | None = None

    def __post_init__(self) -> None:
        for option in ("steps", "dequantizations"):
            if (value := getattr(self, option)) is None or value < 1:
                raise ValueError(f"metrics.ode.{option} must be at least 1, not {'null' if value is None else value}")

    def check(self, denoiser: Denoiser) -> None:
        """Raises ValueError if the model has no ODE between these times."""
        if denoiser.self_conditioning:
            raise ValueError(
                "a model with self-conditioning has no likelihood by an ODE, because its predictions depend on earlier "
                "ones and not on x_t alone: leave it out with metrics.ode=null"
            )
        self.nodes(denoiser)

    def nodes(self, denoiser: DenoiserLike) -> list[Node]:
        """The `steps` + 1 nodes, from t_min to t_max.

        Raises:
            ValueError: the times are out of range, or x_0 cannot be predicted at t_max.
        """
        schedule = denoiser.schedule
        t_min = schedule.t_min if self.t_min is None else self.t_min
        t_max = denoiser.t_max if self.t_max is None else self.t_max
        if not schedule.t_min <= t_min < t_max <= 1:
            raise ValueError(
                f"metrics.ode needs {schedule.t_min:g} (the schedule's least) <= t_min < t_max <= 1, not t_min="
                f"{t_min:g} and t_max={t_max:g}"
            )
        least = schedule.rates(torch.tensor(t_min, dtype=torch.float64, device=schedule.device))
        if self.t_min is None and least.sigma > MOST_NOISE * least.alpha:
            raise ValueError(
                f"this schedule has no likelihood of images by an ODE: even at t = {t_min:g} its noise is "
                f"{float(least.sigma / least.alpha):.2g} times the signal, so the clean end would be noised images. "
                "Leave it out with metrics.ode=null"
            )
        if not denoiser.predicts_at(t_max):
            raise ValueError(
                f"this model has no likelihood by an ODE from t = {t_max:g} on, where its schedule leaves no signal: "
                "predicted noise says nothing about the image there. Set metrics.ode.t_max=0.98"
            )
        ends = torch.tensor([t_min, t_max], dtype=torch.float64, device=schedule.device)
        high, low = schedule.log_snr(ends).tolist()
        inner = torch.linspace(high, max(low, min(SPACING_FLOOR, high)), self.steps + 1, dtype=torch.float64)[1:-1]
        times = torch.cat([ends[:1], schedule.time_of_log_snr(inner.to(schedule.device)), ends[1:]])
        alpha, sigma = schedule.rates(times)
        columns = (times, torch.atan2(sigma, alpha), torch.hypot(alpha, sigma))
        nodes = [Node(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
        if any(a.phi >= b.phi for a, b in pairwise(nodes)):
            raise ValueError(
                f"the schedule does not have {self.steps} different noise levels between t = {t_min:g} and {t_max:g}: "
                "use fewer metrics.ode.steps"
            )
        return nodes

    def log_density(self, denoiser: DenoiserLike, x: Tensor, probe: Tensor, label: Tensor | None = None) -> Tensor:
        """Log density of images at the clean end, in nats per image, (B,), float64.

        x: (B, C, H, W), images; probe: shaped as x, with independent entries of mean 0 and variance 1; label: (B,) or
        None.
        """
        first, *_ = nodes = self.nodes(denoiser)
        z = math.cos(first.phi) * x  # = x_t / n for x_t = alpha x
        change = x.new_zeros(len(x), dtype=torch.float64)
        for node, following in pairwise(nodes):
            step = following.phi - node.phi
            v, divergence = _velocity(denoiser, z, node, probe, label)
            v_next, divergence_next = _velocity(denoiser, z + step * v, following, probe, label)
            z = z + step / 2 * (v + v_next)
            change += step / 2 * (divergence + divergence_next)
            advance()
        log_prior = -0.5 * (z.double().square() + math.log(2 * math.pi)).flatten(1).sum(1)
        return log_prior + change + x[0].numel() * math.log(math.cos(first.phi))

    def bits(self, denoiser: DenoiserLike, images: LabelledImages, seed: int) -> Tensor:
        """Bits per dimension of each image, (B,), float64: the mean over the draws.

        The noise of draw k is a function of (seed, index of the image, k).
        """
        x_0, indices, shape = images.x_0, images.indices, tuple(images.x_0.shape[1:])
        draws = []
        for k in range(self.dequantizations):
            uniform = keyed_uniform(seed, Purpose.DEQUANTIZATION, indices, shape, step=k).to(x_0.dtype)
            sign = keyed_uniform(seed, Purpose.TRACE_PROBE, indices, shape, step=k) < 0.5
            x = x_0 + images.bin_width * (uniform - 0.5)
            probe = torch.where(sign, -1.0, 1.0).to(x_0.dtype)
            log_density = self.log_density(denoiser, x, probe, images.label)
            draws.append(bits_per_dimension(log_density, images.bin_width, shape))
        return torch.stack(draws).mean(0)

    def describe(self, denoiser: DenoiserLike) -> dict[str, Any]:
        """Every option as plain values, with the times and the evaluations per image of this model, for the card."""
        nodes = self.nodes(denoiser)
        return {
            "name": "probability-flow ODE",
            "kind": "exact for dequantized images",
            "solver": "heun",
            "grid": "log_snr",
            "trace": "hutchinson, rademacher",
            "dequantization": "uniform",
            **asdict(self),
            "t_min": nodes[0].t,
            "t_max": nodes[-1].t,
            "nfe": 2 * self.steps * self.dequantizations,
        }


def _velocity(
    denoiser: DenoiserLike, z: Tensor, node: Node, probe: Tensor, label: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The velocity v at a node, shaped as z, and Hutchinson's estimate of its divergence, (B,), float64."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        prediction = denoiser(node.n * z, z.new_full((len(z),), node.t), label)
        v = math.cos(node.phi) * prediction.eps - math.sin(node.phi) * prediction.x_0
        (product,) = torch.autograd.grad((v * probe).sum(), z)
    return v.detach(), (product * probe).double().flatten(1).sum(1)
