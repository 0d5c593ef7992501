"""The cards of all kinds of scores."""

from collections.abc import Mapping
from typing import Any

from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.metrics.classifier_card import ClassifierCard
from ddpm_lightning.metrics.likelihood.card import LikelihoodCard

Card = MetricCard | LikelihoodCard | ClassifierCard


def read_card(content: Mapping[str, Any]) -> Card:
    """The card of a `metrics.json`; one of likelihoods has images and no generated ones.

    Raises:
        TypeError, KeyError: an entry is missing or unknown.
    """
    if ClassifierCard.describes(content):
        return ClassifierCard.from_dict(content)
    return LikelihoodCard.from_dict(content) if "num_images" in content else MetricCard.from_dict(content)
