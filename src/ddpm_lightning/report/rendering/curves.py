"""Curves of runs, read from the files of their loggers."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddpm_lightning.report.rendering.format import metric_name
from ddpm_lightning.report.table import Table

# How many points TensorBoard keeps of each tag: 0 for all, since its default is a random subset; 1, the least, of kinds
# that are not used here.
_KEEP = {"scalars": 0, "tensors": 1, "images": 1, "audio": 1, "histograms": 1, "compressedHistograms": 1}


@dataclass(frozen=True)
class Curve:
    """A value over optimizer steps.

    Attributes:
        steps: (n,), int64, increasing.
        values: (n,), float64; NaN where NaN was logged.
    """

    steps: np.ndarray
    values: np.ndarray

    def thinned(self, most: int) -> "Curve":
        """The curve with at most `most` points: means of adjacent points, in groups of equal size except the last."""
        size = -(-len(self.steps) // most)
        starts = np.arange(0, len(self.steps), size)
        counts = np.diff(np.append(starts, len(self.steps)))
        steps = np.add.reduceat(self.steps, starts) // counts
        return Curve(steps, np.add.reduceat(self.values, starts) / counts)


@dataclass(frozen=True)
class Line:
    """The curve of one run; `row` is the index of its configuration in the table."""

    row: int
    seed: int
    curve: Curve


@dataclass(frozen=True)
class Panel:
    """The curves of one logged value, for all runs that logged it."""

    title: str
    lines: list[Line]


def read_panels(table: Table) -> list[Panel]:
    """The curves of training loss, validation loss and validation KID, where they were logged."""
    titles = {"train/loss": "training loss", "val/loss": "validation loss"} | {
        f"val/{metric}": f"validation {metric_name(metric)}" for metric in table.metrics if metric.startswith("kid_")
    }
    panels = {tag: Panel(title, []) for tag, title in titles.items()}
    for i, row in enumerate(table.rows):
        for run in row.runs:
            curves = read_curves(run.folder)
            for tag in panels.keys() & curves.keys():
                panels[tag].lines.append(Line(i, run.seed, curves[tag]))
    return [panel for panel in panels.values() if panel.lines]


def read_curves(folder: Path) -> dict[str, Curve]:
    """The curves in a run's folder by tag ("val/loss"), from TensorBoard's files or else from the CSV logger's.

    A resumed run has several files; where two contain the same step, the file that was started later counts. Truncated
    or damaged files are read as far as possible. A run without logs has no curves.
    """
    points: dict[str, dict[int, float]] = {}
    for tag, step, value in _from_events(folder / "tensorboard") or _from_csv(folder / "csv"):
        points.setdefault(tag, {})[step] = value
    return {tag: _curve(values) for tag, values in points.items()}


def _curve(values: dict[int, float]) -> Curve:
    steps = np.array(sorted(values), np.int64)
    return Curve(steps, np.array([values[step] for step in steps], np.float64))


def _from_events(folder: Path) -> list[tuple[str, int, float]]:
    # TensorBoard takes a second to import, so a run without its files does not import it.
    files = list(folder.glob("events.out.tfevents.*"))
    if not files:
        return []
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    found = []
    for file in files:
        # A resumed run writes a new file whose steps replace those of the older ones; nothing else may be purged.
        events = EventAccumulator(str(file), size_guidance=_KEEP, purge_orphaned_data=False).Reload()
        scalars = [(tag, event) for tag in events.Tags()["scalars"] for event in events.Scalars(tag)]
        if scalars:
            start = min(event.wall_time for _, event in scalars)
            found.append((start, [(tag, event.step, event.value) for tag, event in scalars]))
    return [point for _, points in sorted(found, key=lambda pair: pair[0]) for point in points]


def _from_csv(folder: Path) -> Iterator[tuple[str, int, float]]:
    for file in sorted(folder.glob("version_*/metrics.csv"), key=_version):
        with file.open(newline="", errors="replace") as lines:
            # A line without a newline was cut off by a kill: its last number may lack digits.
            yield from _points_of(csv.DictReader(line for line in lines if line.endswith("\n")))


def _version(file: Path) -> int:
    number = file.parent.name.removeprefix("version_")
    return int(number) if number.isdigit() else -1


def _points_of(records: Iterable[dict[str, str]]) -> Iterator[tuple[str, int, float]]:
    for record in records:
        try:
            step = int(record["step"])
            values = {tag: float(text) for tag, text in record.items() if text and tag not in ("step", "epoch")}
        except (KeyError, TypeError, ValueError):
            # Skip a damaged line; the others are intact.
            continue
        for tag, value in values.items():
            yield tag, step, value
