"""Everything that a sweep leaves and that must not depend on kills, read from its files."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

from ddpm_lightning.training.checkpoint import CONFIG_KEY, read_checkpoint
from equality import is_cost
from killing.place import Place

HPARAMS = "_hparams_/"
COSTS_IN_A_REPORT = ("train_images_per_second", "wall_seconds", "sampling_seconds")


def outcome(place: Place) -> dict[str, Any]:
    """What a finished sweep has left, as nested plain values and tensors, for `equality.differences`."""
    jobs = {path.parent.name: _job(path.parent) for path in sorted(place.sweep.glob("*/status"))}
    return {"jobs": jobs, "report": _report(place.sweep / "report"), "files": dict.fromkeys(sorted(place.files()))}


def _job(folder: Path) -> dict[str, Any]:
    return {
        "checkpoints": {path.name: _state(path) for path in folder.glob("checkpoints/*.ckpt")},
        "events": _events(folder),
        "table": _table(folder),
        "scores": json.loads((folder / "metrics.json").read_text()),
        "arrays": {path.name: _arrays(path) for path in folder.glob("*.npz")},
        "pictures": {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")},
        "state": json.loads((folder / "status").read_text())["state"],
    }


def _state(path: Path) -> dict[str, Any]:
    state = read_checkpoint(path)
    del state[CONFIG_KEY]
    return state


def _events(folder: Path) -> dict[str, int]:
    """How often each value, picture and entry of the HParams tab is in all event files, nothing being purged."""
    counts: Counter[str] = Counter()
    for file in folder.rglob("events.out.tfevents.*"):
        for record in RawEventFileLoader(str(file)).Load():
            event = Event.FromString(record)
            for value in event.summary.value:
                varies = is_cost(value.tag) or value.tag.startswith(HPARAMS)
                content = "" if varies else value.SerializeToString().hex()
                counts[f"{value.tag} {event.step} {content}"] += 1
    return dict(counts)


def _table(folder: Path) -> list[dict[str, str]]:
    """The rows of all tables, in order."""
    rows = []
    for file in sorted(folder.rglob("metrics.csv")):
        with file.open(newline="") as lines:
            found = [{name: text for name, text in row.items() if not is_cost(name)} for row in csv.DictReader(lines)]
        rows += [row for row in found if any(text for name, text in row.items() if name not in ("epoch", "step"))]
    return rows


def _arrays(path: Path) -> dict[str, torch.Tensor]:
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def _report(folder: Path) -> list[dict[str, str]]:
    with (folder / "report.csv").open(newline="") as lines:
        return [{k: v for k, v in row.items() if k not in COSTS_IN_A_REPORT} for row in csv.DictReader(lines)]
