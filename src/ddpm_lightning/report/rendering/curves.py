"""Curves of a run, as its loggers wrote them."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddpm_lightning.report.rendering.format import metric_name
from ddpm_lightning.report.table import Table

# TensorBoard keeps a random choice of points by default; pictures in the same file are of no use here.
_KEEP = {"scalars": 0, "tensors": 1, "images": 1, "audio": 1, "histograms": 1, "compressedHistograms": 1}


@dataclass(frozen=True)
class Curve:
    """A value over optimizer steps.

    Attributes:
        steps: (n,), int64, rising.
        values: (n,), float64; NaN where the logged value was.
    """

    steps: np.ndarray
    values: np.ndarray

    def thinned(self, most: int) -> "Curve":
        """At most `most` points: means of neighbouring points, in groups of equal size but for the last."""
        size = -(-len(self.steps) // most)
        if size <= 1:
            return self
        starts = np.arange(0, len(self.steps), size)
        counts = np.diff(np.append(starts, len(self.steps)))
        steps = np.add.reduceat(self.steps, starts) // counts
        return Curve(steps, np.add.reduceat(self.values, starts) / counts)


@dataclass(frozen=True)
class Line:
    """The curve of one run; `row` is the number of its configuration in the table."""

    row: int
    seed: int
    curve: Curve


@dataclass(frozen=True)
class Panel:
    """The curves of one value, of all runs that logged it."""

    title: str
    lines: list[Line]


def read_panels(table: Table) -> list[Panel]:
    """Training loss, validation loss and each KID on the validation split, as far as they were logged."""
    titles = {"train/loss": "training loss", "val/loss": "validation loss"} | {
        f"val/{metric}": f"validation {metric_name(metric)}" for metric in table.metrics if metric.startswith("kid_")
    }
    panels = {tag: Panel(title, []) for tag, title in titles.items()}
    for number, row in enumerate(table.rows):
        for run in row.runs:
            curves = read_curves(run.folder)
            for tag in panels.keys() & curves.keys():
                panels[tag].lines.append(Line(number, run.seed, curves[tag]))
    return [panel for panel in panels.values() if panel.lines]


def read_curves(folder: Path) -> dict[str, Curve]:
    """The curves in a run's folder by tag ("val/loss"), from TensorBoard's files, or else from the CSV logger's.

    A run that was resumed has several files; where two hold the same step, the one that was started later is right.
    Of a file that ends in the middle of a record, or is damaged, what can be read is used. A run without logs has no
    curves.
    """
    points: dict[str, dict[int, float]] = {}
    for tag, step, value in _from_events(folder / "tensorboard") or _from_csv(folder / "csv"):
        points.setdefault(tag, {})[step] = value
    return {tag: _curve(values) for tag, values in points.items()}


def _curve(values: dict[int, float]) -> Curve:
    steps = np.array(sorted(values), np.int64)
    return Curve(steps, np.array([values[step] for step in steps], np.float64))


def _from_events(folder: Path) -> list[tuple[str, int, float]]:
    # TensorBoard takes a second to import, which a run without its files need not wait for.
    files = list(folder.glob("events.out.tfevents.*"))
    if not files:
        return []
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    found = []
    for file in files:
        # Runs go on with new files, and here the newer ones replace single steps: nothing else is to be purged.
        events = EventAccumulator(str(file), size_guidance=_KEEP, purge_orphaned_data=False).Reload()
        scalars = [(tag, event) for tag in events.Tags()["scalars"] for event in events.Scalars(tag)]
        if scalars:
            start = min(event.wall_time for _, event in scalars)
            found.append((start, [(tag, event.step, event.value) for tag, event in scalars]))
    return [point for _, points in sorted(found, key=lambda pair: pair[0]) for point in points]


def _from_csv(folder: Path) -> Iterator[tuple[str, int, float]]:
    for file in sorted(folder.glob("version_*/metrics.csv"), key=_version):
        with file.open(newline="", errors="replace") as lines:
            # A line without an end was being written when the run was killed: its last number may lack digits.
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
            # A damaged line; the others are still good.
            continue
        for tag, value in values.items():
            yield tag, step, value
