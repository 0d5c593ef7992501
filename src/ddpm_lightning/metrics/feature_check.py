"""What two sets of features must be before they can be compared."""

import torch
from torch import Tensor


def check_features(real: Tensor, generated: Tensor, minimum: int = 2) -> None:
    """Raise ValueError unless both are (N, D) of one D, with at least `minimum` finite rows each."""
    for name, features in (("real", real), ("generated", generated)):
        if features.ndim != 2:
            raise ValueError(f"{name} features must be (N, D), not {tuple(features.shape)}")
        if len(features) < minimum:
            raise ValueError(f"{len(features)} {name} samples are too few, at least {minimum} are needed")
        if not torch.isfinite(features).all():
            raise ValueError(f"{name} features hold NaN or infinity: the images or the extractor are broken")
    if real.shape[1] != generated.shape[1]:
        raise ValueError(
            f"real features have {real.shape[1]} numbers a sample and generated ones {generated.shape[1]}: "
            "both must come from the same extractor"
        )
