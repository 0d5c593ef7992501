"""What it means for two trainings to be equal to the bit."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Logged = dict[tuple[int, str], str]
COSTS = ("cost", "CostMeter")
"""Left out everywhere, since no two runs take the same time: a section of metrics.json, a callback's state, and what is
logged below that name."""


@pytest.fixture(scope="session")
def resumable(tiny_options: list[str]) -> list[str]:
    """A tiny training in which every kind of randomness is in use: dropout, labels, flips, order, noise, times.

    Its epochs have 5 batches, into which windows of two accumulated batches do not fit.
    """
    return [
        *tiny_options,
        "dataset.val_size=38",
        "dataset.flip=true",
        "model.num_classes=10",
        "model.dropout=0.1",
        "metrics.every_n_epochs=1",
        "logger=csv",
        "trainer.log_every_n_steps=1",
    ]


@pytest.fixture(scope="session")
def differences() -> Callable[[Any, Any], list[str]]:
    """`differences(ours, theirs)`: the places at which two nested states differ."""
    return _differences


def _differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted((ours.keys() | theirs.keys()) - {*COSTS}, key=str)
        return [d for key in keys for d in _differences(ours.get(key), theirs.get(key), f"{where}/{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [d for place, (a, b) in pairs for d in _differences(a, b, f"{where}/{place}")]
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        return [] if torch.equal(ours, theirs) else [where]
    return [] if ours == theirs else [f"{where}: {ours!r} != {theirs!r}"]


@pytest.fixture(scope="session")
def logged() -> Callable[[Path], Logged]:
    """`logged(run_folder)`: every value of its CSV files by (step, name); a later start overrules an earlier one."""
    return _logged


def _logged(folder: Path) -> Logged:
    starts = sorted(folder.glob("csv/version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    values: Logged = {}
    for path in starts:
        with path.open() as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                values |= {(step, name): value for name, value in row.items() if value != "" and not _is_cost(name)}
    return values


def _is_cost(name: str) -> bool:
    return name.split("/")[0] in COSTS
