"""The scores that a table can compare: their names."""

from typing import NamedTuple


class Score(NamedTuple):
    """A kind of score; `metrics.directions` says whether higher values are better.

    Attributes:
        title: its name in papers.
    """

    title: str


SAMPLE_SCORES = {
    "kid": Score("KID"),
    "fid": Score("FID"),
    "precision": Score("precision"),
    "recall": Score("recall"),
}
"""Scores of generated samples. A metric's name also contains the features it was computed from: kid_lenet_mnist."""

LIKELIHOODS = {
    "bits_per_dim_bound": Score("bits/dim (bound)"),
    "bits_per_dim_ode": Score("bits/dim (ODE)"),
}
"""Likelihoods of held-out images."""

ERRORS = {"noise_mae": Score("noise MAE"), "image_mae": Score("image MAE")}
"""Errors of predictions from noised held-out images."""

ON_NOISED_IMAGES = {**ERRORS, "accuracy": Score("accuracy")}
"""What is measured on noised held-out images, also in each bucket of log SNR: errors, and a classifier's accuracy."""

OTHER_SCORES = LIKELIHOODS | ON_NOISED_IMAGES
NAMES = (*SAMPLE_SCORES, *OTHER_SCORES)
"""The scores by which the rows of a table can be sorted."""


def is_sample_score(metric: str) -> bool:
    """Whether a metric is a score of generated samples."""
    return metric.partition("_")[0] in SAMPLE_SCORES


def score_of(metric: str) -> Score:
    """The score of a metric: KID for kid_lenet_mnist."""
    return SAMPLE_SCORES[metric.partition("_")[0]] if is_sample_score(metric) else OTHER_SCORES[metric]
