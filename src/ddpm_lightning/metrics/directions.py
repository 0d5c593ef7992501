"""In which direction a score is better."""

HIGHER_IS_BETTER = ("accuracy", "precision", "recall")
"""First words of the names of scores that are better when they are higher."""


def higher_is_better(score: str) -> bool:
    """Whether higher values of a score are better: of precision_lenet_mnist and accuracy, not of kid_lenet_mnist."""
    return score.startswith(HIGHER_IS_BETTER)
