"""Checks that scores may share a table."""

from collections.abc import Sequence
from typing import Any

from ddpm_lightning.metrics.card import NOT_RECORDED
from ddpm_lightning.report.finished_run import FinishedRun

EXPLAINED_BY = {
    # Where sampling starts depends on what the network predicts.
    "sampler.t_max": ("sampler", "predict", "loss_on", "experiment"),
    "sampler": ("sampler", "grid", "experiment"),
    "guidance": ("guidance", "experiment"),
    "nfe": ("sampler", "grid", "guidance", "experiment"),
    "labels": ("model", "guidance", "metrics.labels", "experiment"),
    "weights": ("weights",),
}
"""Prefix of a name on the card -> prefixes of the options that may explain a difference there.

The first entry that fits holds. What has none must not differ.
"""

PAIRED = {"metrics.seed": "seed", "metrics.real_seed": "real_seed"}
"""Options whose values on the card runs of one seed must share -> their names there."""

FIXES = {
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
    cards = [run.card.flat() for run in runs]
    for name in dict.fromkeys(name for card in cards for name in card):
        if not _explained(name, factors):
            groups = _folders_by_value(runs, [card.get(name, NOT_RECORDED) for card in cards])
            if len(groups) > 1:
                raise ValueError(f"these runs cannot be compared: {_describe(name, groups)}; {_fix(name)}")
    for option, part in PAIRED.items():
        for seed in sorted({run.seed for run in runs}):
            of_seed = [run for run in runs if run.seed == seed]
            groups = _folders_by_value(of_seed, [getattr(run.card, part) for run in of_seed])
            studied = {option, "seeds.samples"} if part == "seed" else {option}
            if len(groups) > 1 and not studied & set(factors):
                raise ValueError(
                    f"these runs cannot be compared in pairs: among those of seed={seed}, {_describe(option, groups)}; "
                    f"evaluate all runs of one seed with the same {option}"
                )


def _explaining(name: str) -> tuple[str, ...]:
    """What the options begin with that may explain differences of this name on the card."""
    return next((options for prefix, options in EXPLAINED_BY.items() if f"{name}.".startswith(f"{prefix}.")), ())


def _explained(name: str, factors: Sequence[str]) -> bool:
    options = tuple(f"{option}." for option in _explaining(name))
    return any(f"{factor}.".replace("/", ".").startswith(options) for factor in factors)


def _folders_by_value(runs: Sequence[FinishedRun], values: Sequence[Any]) -> dict[Any, list[str]]:
    """The card's value -> names of the folders of the runs that have it, in order of appearance."""
    groups: dict[Any, list[str]] = {}
    for run, value in zip(runs, values, strict=True):
        groups.setdefault(value, []).append(run.folder.name)
    return groups


def _describe(name: str, groups: dict[Any, list[str]]) -> str:
    """As "split is 'test' in 3 runs (A, B, C) and 'val' in 1 run (D)"; long lists are cut."""
    parts = []
    for value, names in groups.items():
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        parts.append(f"{value!r} in {len(names)} run{'s' if len(names) > 1 else ''} ({shown})")
    return f"{name} is {' and '.join(parts)}"


def _fix(name: str) -> str:
    if explaining := _explaining(name):
        options = " or ".join(f"{option}..." for option in explaining)
        return f"evaluate all runs alike, or compare by an option that sets it ({options} in by=)"
    return FIXES[name]
