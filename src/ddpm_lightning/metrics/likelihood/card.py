"""The card of likelihoods: everything that they depend on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ddpm_lightning.metrics.card import comparable_entries


@dataclass(frozen=True)
class LikelihoodCard:
    """Record of how likelihoods were measured, as `MetricCard` is of scores of samples.

    Attributes:
        num_images: number of images.
        seed: seed of all noise.
        real_seed: seed of the choice of images.
        seeds: seeds of the training, by name (init, order, noise, samples).
        labels: "own" for a model with classes, which is given each image's class; None without classes.
        bound: the options of the bound, with `kind` and the number of steps; None if it was left out.
        ode: the options of the ODE, with `kind`, solver, dequantisation, times and evaluations; None if left out.
        weights: "ema" or "raw".
        split: split that the images are from.
        dataset: name of the data set.
        real_images: fingerprint of the split, 16 hexadecimal digits.
    """

    num_images: int
    seed: int
    real_seed: int
    seeds: dict[str, int]
    labels: str | None
    bound: dict[str, Any] | None
    ode: dict[str, Any] | None
    weights: str
    split: str
    dataset: str
    real_images: str

    measured: ClassVar[str] = "likelihoods"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def flat(self) -> dict[str, Any]:
        """Entries that must agree for likelihoods to be comparable, on one level: "ode.steps" -> 100."""
        return comparable_entries(self.to_dict())

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "LikelihoodCard":
        """The card of a `metrics.json`.

        Raises:
            TypeError: an entry is missing or unknown.
        """
        return cls(**content)
