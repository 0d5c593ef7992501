"""Check of two sets of features before they are compared."""

import torch
from torch import Tensor


def check_features(real: Tensor, generated: Tensor, minimum: int = 2) -> None:
    """Raises ValueError unless both are (N, D) with the same D and at least `minimum` rows, all of them finite."""
    for name, features in (("real", real), ("generated", generated)):
        if features.ndim != 2:
            raise ValueError(f"{name} features must be (N, D), not {tuple(features.shape)}")
        if len(features) < minimum:
            raise ValueError(f"{len(features)} {name} samples are too few, at least {minimum} are needed")
        if not torch.isfinite(features).all():
            raise ValueError(f"{name} features contain NaN or infinity: the images or the extractor are broken")
    if real.shape[1] != generated.shape[1]:
        raise ValueError(
            f"real features have {real.shape[1]} dimensions and generated ones {generated.shape[1]}: "
            "both must come from the same extractor"
        )
