"""What it means for two trainings to be equal to the bit."""

from typing import Any

import torch

from ddpm_lightning.training.logged_once import LOGS_KEY

LEFT_OUT = ("cost", "CostMeter", LOGS_KEY)
"""Left out everywhere, since no two runs take the same time: a section of metrics.json, a callback's state, what is
logged below that name, and the lengths of the logs' files."""


def differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """The places at which two nested states differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted((ours.keys() | theirs.keys()) - {*LEFT_OUT}, key=str)
        return [d for key in keys for d in differences(ours.get(key), theirs.get(key), f"{where}/{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [d for place, (a, b) in pairs for d in differences(a, b, f"{where}/{place}")]
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        return [] if torch.equal(ours, theirs) else [where]
    return [] if ours == theirs else [f"{where}: {ours!r} != {theirs!r}"]


def is_cost(name: str) -> bool:
    """Whether a logged value is left out."""
    return name.split("/")[0] in LEFT_OUT
