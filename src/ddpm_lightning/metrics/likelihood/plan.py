"""The options of `metrics=likelihood`: which likelihoods are measured, on which images."""

from dataclasses import dataclass

from ddpm_lightning.metrics.likelihood.bound import BoundLikelihood
from ddpm_lightning.metrics.likelihood.ode import ODELikelihood

LEAST = {"num_images": 2, "seed": 0, "real_seed": 0, "chunk_size": 1}
"""Option -> its lowest value."""


@dataclass(frozen=True)
class LikelihoodPlan:
    """Which likelihoods of which images are measured. Defaults are in conf/metrics/likelihood.yaml.

    Args:
        num_images: number of images, chosen at random from the split.
        seed: seed of all noise: that of the bound, of dequantisation and of the probes.
        real_seed: seed of the choice of images.
        chunk_size: number of images computed together.
        bound: the variational bound; None to leave it out.
        ode: the likelihood by the ODE; None to leave it out.

    Raises:
        ValueError: an option is out of range, or nothing is measured.
    """

    num_images: int
    seed: int
    real_seed: int
    chunk_size: int
    bound: BoundLikelihood | None
    ode: ODELikelihood | None

    def __post_init__(self) -> None:
        for option, least in LEAST.items():
            if (value := getattr(self, option)) is None or value < least:
                raise ValueError(f"metrics.{option} must be at least {least}, not {'null' if value is None else value}")
        if self.bound is None and self.ode is None:
            raise ValueError(
                "metrics=likelihood with metrics.bound=null and metrics.ode=null measures nothing: leave out one of "
                "them"
            )
