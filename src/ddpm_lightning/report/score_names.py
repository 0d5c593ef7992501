"""The scores that a table can compare: what they are called, and which way is better."""

from typing import NamedTuple


class Score(NamedTuple):
    """A kind of score, as it is printed.

    Attributes:
        title: its name in papers.
        higher_is_better: else lower values are.
    """

    title: str
    higher_is_better: bool = False


OF_SAMPLES = {
    "kid": Score("KID"),
    "fid": Score("FID"),
    "precision": Score("precision", higher_is_better=True),
    "recall": Score("recall", higher_is_better=True),
}
"""Of generated samples. A metric's name goes on with the features that it was computed from, as in kid_lenet_mnist."""

ERRORS = {"noise_mae": Score("noise MAE"), "image_mae": Score("image MAE")}
"""Of predictions from held-out images with noise."""

NAMES = (*OF_SAMPLES, *ERRORS)
"""What the rows of a table can be sorted by."""


def is_of_samples(metric: str) -> bool:
    """Whether a metric is a score of generated samples."""
    return metric.partition("_")[0] in OF_SAMPLES


def score_of(metric: str) -> Score:
    """The score of a metric: KID for kid_lenet_mnist."""
    return OF_SAMPLES[metric.partition("_")[0]] if is_of_samples(metric) else ERRORS[metric]


def higher_is_better(metric: str) -> bool:
    """Whether higher values of a metric are better than lower ones."""
    return score_of(metric).higher_is_better
