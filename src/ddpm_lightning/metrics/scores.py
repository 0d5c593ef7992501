"""Scores with the card that records how they were made."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.metrics.cards import Card
from ddpm_lightning.metrics.frechet import frechet_distance
from ddpm_lightning.metrics.kernel import kernel_distance, kernel_distance_subsets
from ddpm_lightning.metrics.precision_recall import precision_recall
from ddpm_lightning.tracking import advance, work


def score_names(features: str) -> tuple[str, ...]:
    """The names of the scores that are computed from features of this name, in the order of `compare_features`."""
    return (
        f"kid_{features}",
        f"fid_{features}",
        f"precision_{features}",
        f"recall_{features}",
        f"kid_{features}_subsets_mean",
        f"kid_{features}_subsets_std",
    )


@dataclass(frozen=True)
class Scores:
    """Scores of one model.

    Attributes:
        values: name -> score; the name of a score of samples contains the extractor's name.
        card: record of how they were made.
    """

    values: dict[str, float]
    card: Card

    def to_dict(self) -> dict[str, Any]:
        """{"values": ..., "card": ...} of plain values, ready for JSON."""
        return {"values": dict(self.values), "card": self.card.to_dict()}


def compare_features(
    real_features: Tensor,
    generated_features: Tensor,
    card: MetricCard,
    *,
    kid_subsets: int,
    kid_subset_size: int,
    seed: int,
) -> Scores:
    """KID, FID, precision and recall of real (N, D) and generated (M, D) features.

    For features named NAME the values are: `kid_NAME`, the unbiased estimate from all samples; `fid_NAME`;
    `precision_NAME` and `recall_NAME`, from 3 neighbours; `kid_NAME_subsets_mean` and `kid_NAME_subsets_std`,
    torch-fidelity's over `kid_subsets` subsets of `kid_subset_size` drawn with `seed`.

    Raises:
        ValueError: the card's numbers of images differ from those of the features, or the features cannot be compared.
    """
    counted = (len(real_features), len(generated_features))
    if counted != (card.num_real, card.num_generated):
        raise ValueError(
            f"the card says {card.num_real} real and {card.num_generated} generated images, "
            f"the features are of {counted[0]} and {counted[1]}"
        )
    name = card.features
    with work(f"comparing the {name} features", 4):
        # First, because these may refuse the number of samples.
        mean, deviation = kernel_distance_subsets(real_features, generated_features, kid_subsets, kid_subset_size, seed)
        advance()
        precision, recall = precision_recall(real_features, generated_features)
        advance()
        kid = kernel_distance(real_features, generated_features)
        advance()
        fid = frechet_distance(real_features, generated_features)
        advance()
    values = (kid, fid, precision, recall, mean, deviation)
    return Scores(dict(zip(score_names(name), values, strict=True)), card)
