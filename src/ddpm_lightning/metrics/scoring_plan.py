"""The options of `metrics`: how samples are scored."""

from dataclasses import dataclass

from ddpm_lightning.metrics.features.extractor import FeatureExtractor
from ddpm_lightning.metrics.precision_recall import NEIGHBORHOOD

LABELS = ("uniform", "as_in_data")
"""How often each class may be drawn."""
LEAST = {
    "seed": 0,
    "real_seed": 0,
    "kid_subsets": 1,
    "kid_subset_size": 2,
    "every_n_epochs": 1,
    "chunk_size": 1,
}
"""Option -> its lowest value."""


@dataclass(frozen=True)
class ScoringPlan:
    """Which samples are compared with which real images, how, and how often. Defaults are in conf/metrics.

    Args:
        features: extractor of the features that are compared.
        num_samples: number of generated images.
        num_real: number of real images, chosen at random.
        seed: seed of the samples.
        real_seed: seed of the choice of real images and of KID's subsets.
        labels: how often each class is drawn, for a model that knows classes: "uniform", or "as_in_data" for the
            frequencies of the split that is compared with.
        kid_subsets: number of subsets of torch-fidelity's KID.
        kid_subset_size: their size, at most num_samples and num_real.
        every_n_epochs: in training, score at the validations of every n-th epoch; None for the final test only.
        weights: file that `features` read its weights from; None for the extractor's own choice.
        chunk_size: number of samples computed together.

    Raises:
        ValueError: an option is out of range, or there are too few images for KID's subsets or for precision and
            recall.
    """

    features: FeatureExtractor
    num_samples: int
    num_real: int
    seed: int
    real_seed: int
    labels: str
    kid_subsets: int
    kid_subset_size: int
    every_n_epochs: int | None
    weights: str | None
    chunk_size: int

    def __post_init__(self) -> None:
        for option, least in LEAST.items():
            value = getattr(self, option)
            if value is not None and value < least:
                raise ValueError(f"metrics.{option} must be at least {least}, not {value}")
        if self.labels not in LABELS:
            raise ValueError(f"unknown metrics.labels {self.labels!r}: choose from {', '.join(LABELS)}")
        counts = f"metrics.num_samples={self.num_samples} and metrics.num_real={self.num_real}"
        if min(self.num_samples, self.num_real) < self.kid_subset_size:
            raise ValueError(
                f"{counts} must be at least metrics.kid_subset_size={self.kid_subset_size}: raise them or lower it"
            )
        if min(self.num_samples, self.num_real) <= NEIGHBORHOOD:
            raise ValueError(
                f"{counts} must be at least {NEIGHBORHOOD + 1}: precision and recall look at {NEIGHBORHOOD} neighbours "
                "of each"
            )

    def scores_epoch(self, epoch: int) -> bool:
        """True if samples are scored at the validations of this epoch of the training, counted from 0."""
        return self.every_n_epochs is not None and (epoch + 1) % self.every_n_epochs == 0
