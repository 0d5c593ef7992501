"""Figure of scores against the guidance scale: `python experiments/guidance/draw.py RUN_OR_EVALUATION...`."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

HERE = Path(__file__).parent
SCORES = ("fid_lenet_mnist", "precision_lenet_mnist", "recall_lenet_mnist")
Row = tuple[str, float, float, float, float]
"""Guidance, scale, scores."""


def main(folders: list[str]) -> None:
    """Writes `scores.csv` and `scores.png` beside this file."""
    reports = [json.loads((Path(folder) / "metrics.json").read_text()) for folder in folders]
    rows = sorted({row for report in reports for row in _rows(report)})
    with (HERE / "scores.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("guidance", "scale", *SCORES), *rows])
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    for axes, score, column in zip(figure.subplots(1, 3), SCORES, (2, 3, 4), strict=True):
        for name in sorted({row[0] for row in rows}):
            points = [(row[1], row[column]) for row in rows if row[0] == name]
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
        axes.set(title=score.partition("_")[0], xlabel="guidance.scale")
        axes.grid(linewidth=0.4, alpha=0.5)
    figure.axes[0].legend(fontsize=8)
    figure.savefig(HERE / "scores.png", dpi=100)


def _rows(report: dict[str, Any]) -> list[Row]:
    """The scores of a run, under the scales of both guidances that amount to none if it was not guided."""
    options, values = report["card"]["guidance"], report["values"]
    fid, precision, recall = (round(values[score], 4) for score in SCORES)
    unguided = [("classifier_free", 1.0), ("classifier", 0.0)]
    scales = unguided if options["name"] == "none" else [(options["name"], float(options["scale"]))]
    return [(name, scale, fid, precision, recall) for name, scale in scales]


if __name__ == "__main__":
    main(sys.argv[1:])
