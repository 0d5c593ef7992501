"""Configs that runs and checkpoints hold: whether this version can go on from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

NEEDED = (
    "seed",
    "compile",
    "weights",
    "label_dropout",
    "dataset",
    "normalizer",
    "model",
    "schedule",
    "loss_on",
    "loss",
    "weighting",
    "timesteps",
    "optimizer",
    "ema",
    "sampler",
    "guidance",
    "metrics",
    "callbacks",
    "logger",
    "trainer",
    "paths",
)
"""What a run is made of."""
NEEDED_OF_DATASET = ("name", "source", "split", "batch_size", "num_workers", "flip")
"""What `dataset` must say beside what its source asks for."""


def check_stored(config: Mapping[Any, Any], origin: str | Path) -> None:
    """Raises ValueError if the config stored in `origin` lacks what a run is made of: an earlier version wrote it."""
    missing = [key for key in NEEDED if key not in config]
    if "dataset" in config:
        missing += [f"dataset.{key}" for key in NEEDED_OF_DATASET if key not in config["dataset"]]
    if missing:
        raise ValueError(
            f"{origin} was made by an earlier version of ddpm-lightning, and this one cannot go on from it: its config "
            f"has no {', '.join(missing)}"
        )
