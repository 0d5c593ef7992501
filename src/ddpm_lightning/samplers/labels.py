"""Class labels by sample index: functions, so that a sample's class does not depend on chunks."""

from collections.abc import Callable

import torch
from torch import Tensor

from ddpm_lightning.diffusion.randomness import golden_spread

LabelsOf = Callable[[Tensor], Tensor]
"""The labels, (n,) int64, of the samples with these indices, (n,) int64, on the same device."""


def uniform_labels(num_classes: int) -> LabelsOf:
    """All classes equally often: 0..K-1 in turn."""
    return lambda indices: indices % num_classes


def one_label(label: int, num_classes: int | None) -> LabelsOf:
    """The same class for every sample.

    Raises:
        ValueError: `label` is not one of the classes, or the model knows none.
    """
    check_label(label, num_classes)
    return lambda indices: torch.full_like(indices, label)


def check_label(label: int, num_classes: int | None) -> None:
    """Raises ValueError if `label` is not one of a model's classes, or the model knows none."""
    if num_classes is None:
        raise ValueError(f"label={label}, but this model has no classes: leave label out")
    if not 0 <= label < num_classes:
        raise ValueError(f"label={label} does not exist: this model has the classes 0 to {num_classes - 1}")


def proportional_labels(counts: Tensor) -> LabelsOf:
    """Each class in proportion to its count in `counts`, (K,), of which at least one is above 0.

    Any run of consecutive samples has these proportions to within a few samples.
    """
    shares = (counts.double() / counts.sum()).cumsum(0)

    def labels(indices: Tensor) -> Tensor:
        place = golden_spread(indices).double()
        return torch.searchsorted(shares.to(indices.device), place, right=True).clamp(max=len(shares) - 1)

    return labels
