"""Samples of all configurations, aligned so that they can be compared image by image."""

from dataclasses import dataclass

import numpy as np

from ddpm_lightning.report.finished_run import FinishedRun
from ddpm_lightning.report.table import Table

_FILE = "samples.npz"
_MOST = 16
# Pixels of one row: more large images would fill the page without showing more than the first few.
_WIDTH = 512


@dataclass(frozen=True)
class AlignedSamples:
    """The same samples, by index, of every configuration.

    Attributes:
        strips: one of (C, H, N·(W + 1) - 1), uint8, for each row of the table: N samples side by side, separated by
            grey lines; None for a row without samples.
        caption: what the samples are: a sentence without its full stop.
    """

    strips: list[np.ndarray | None]
    caption: str


def read_aligned_samples(table: Table) -> AlignedSamples:
    """The first samples of one run of each configuration, from `samples.npz` in the run's folder.

    The runs are those of the lowest seed for which all configurations have samples, so that all start from the same
    noise x_T; without such a seed, each configuration's run with the lowest one. Configurations without any samples
    are ignored in this choice.
    """
    by_row = [_runs_with_samples(row.runs) for row in table.rows]
    seeds = [set(runs) for runs in by_row if runs]
    if not seeds:
        return AlignedSamples([None] * len(table.rows), "No samples were kept")
    common = set.intersection(*seeds)
    chosen = [runs[min(common or runs)] if runs else None for runs in by_row]
    images = [_read(run) if run else None for run in chosen]
    count = min(len(found) for found in images if found is not None)
    caption = f"Samples 0 to {count - 1} of " + (
        f"seed {min(common)}: each column starts from the same noise"
        if common
        else "each configuration's lowest seed: no seed is common to all, so columns start from different noise"
    )
    return AlignedSamples([None if found is None else _side_by_side(found[:count]) for found in images], caption)


def _runs_with_samples(runs: list[FinishedRun]) -> dict[int, FinishedRun]:
    return {run.seed: run for run in runs if (run.folder / _FILE).is_file()}


def _read(run: FinishedRun) -> np.ndarray:
    images = run.load_samples()
    return images[: min(_MOST, max(4, _WIDTH // images.shape[-1]))]


def _side_by_side(images: np.ndarray) -> np.ndarray:
    framed = np.pad(images, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=128)
    return np.concatenate(list(framed), axis=-1)[..., :-1]
