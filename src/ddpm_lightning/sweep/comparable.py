"""Refuses to put scores into one table that do not mean the same."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.sweep.runs import FinishedRun

EXPLAINED_BY = {
    "sampler": ("sampler", "experiment"),
    "steps": ("sampler", "experiment"),
    "eta": ("sampler", "experiment"),
    # Where sampling starts depends on what the network predicts, and is rounded to the schedule's grid.
    "t_max": ("sampler", "loss_on", "schedule", "experiment"),
    "clip": ("sampler", "experiment"),
    "guidance_scale": ("guidance", "experiment"),
    "weights": ("weights",),
}
"""Field of the card -> what an option that may explain its differences begins with. Other fields must not differ."""

HOW_TO_MEND = {
    "dataset": "report each data set by itself",
    "split": "evaluate all runs on the same split",
    "features": "report each kind of features by itself, or evaluate all runs with the same metrics/features",
    "features_sha256": "evaluate all runs with the same weights of the features",
    "resize": "evaluate all runs with the same version of the features",
    "num_generated": "evaluate all runs with the same metrics.num_samples",
    "num_real": "evaluate all runs with the same metrics.num_real",
    "real_images": "the images differ in size, in the split or its seed, or in the files: report each kind of images "
    "by itself, or evaluate all runs on the same ones",
}


def check_comparable(runs: Sequence[FinishedRun], factors: Sequence[str]) -> None:
    """Whether the runs' scores may stand in one table whose rows differ in `factors`.

    Metric cards must agree, but for what a factor explains, and for the seeds. The runs of one seed must share the
    card's seed too: they are compared in pairs, on the same real images and from the same x_T.

    Raises:
        ValueError: they may not; it says what differs, between which runs, and what to do.
    """
    for field in fields(MetricCard):
        if field.name != "seed" and not _explained(field.name, factors):
            groups = _runs_by_value(runs, field.name)
            if len(groups) > 1:
                raise ValueError(f"these runs cannot be compared: {_say(field.name, groups)}; {_mend(field.name)}")
    for seed in sorted({run.seed for run in runs}):
        groups = _runs_by_value([run for run in runs if run.seed == seed], "seed")
        if len(groups) > 1:
            raise ValueError(
                f"these runs cannot be compared in pairs: among those of seed={seed}, {_say('metrics.seed', groups)}; "
                "evaluate all runs of one seed with the same metrics.seed"
            )


def _explained(field: str, factors: Sequence[str]) -> bool:
    explaining = EXPLAINED_BY.get(field, ())
    return any(factor.split(".")[0].split("/")[0] in explaining for factor in factors)


def _runs_by_value(runs: Sequence[FinishedRun], field: str) -> dict[Any, list[str]]:
    """The card's value -> names of the folders of the runs that have it, in order of appearance."""
    groups: dict[Any, list[str]] = {}
    for run in runs:
        groups.setdefault(getattr(run.card, field), []).append(run.folder.name)
    return groups


def _say(name: str, groups: dict[Any, list[str]]) -> str:
    """As "split is 'test' in 3 runs (A, B, C) and 'val' in 1 run (D)"; long lists are cut."""
    parts = []
    for value, names in groups.items():
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        parts.append(f"{value!r} in {len(names)} run{'s' if len(names) > 1 else ''} ({shown})")
    return f"{name} is {' and '.join(parts)}"


def _mend(field: str) -> str:
    if field in EXPLAINED_BY:
        options = " or ".join(f"{option}..." for option in EXPLAINED_BY[field])
        return f"evaluate all runs alike, or compare by an option that sets it ({options} in by=)"
    return HOW_TO_MEND[field]
