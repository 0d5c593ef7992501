"""Checks that the scores of runs are comparable."""

from collections.abc import Sequence
from typing import Any

from ddpm_lightning.metrics.card import NOT_RECORDED
from ddpm_lightning.report.finished_run import FinishedRun

EXPLAINED_BY = {
    # The default time at which sampling starts depends on the target that the network predicts.
    "sampler.t_max": ("sampler", "predict", "loss_on", "experiment"),
    "sampler": ("sampler", "grid", "experiment"),
    "guidance": ("guidance", "experiment"),
    "nfe": ("sampler", "grid", "guidance", "experiment"),
    "labels": ("model", "guidance", "metrics.labels", "experiment"),
    "weights": ("weights",),
    "bound.num_steps": ("metrics.bound", "loss", "timesteps", "schedule", "experiment"),
    "bound.v": ("metrics.bound", "variance", "experiment"),
    "bound": ("metrics.bound",),
    "ode.t_min": ("metrics.ode", "schedule", "experiment"),
    "ode.t_max": ("metrics.ode", "predict", "loss_on", "experiment"),
    "ode": ("metrics.ode",),
}
"""Prefix of a name on the card -> prefixes of the options that may explain a difference there.

The first matching entry counts. Names without an entry must not differ.
"""

PAIRING_SEEDS = {"metrics.seed": "seed", "metrics.real_seed": "real_seed"}
"""Options that must be equal among the runs of one seed -> their names on the card."""

FIXES = {
    "dataset": "report each data set separately",
    "split": "evaluate all runs on the same split",
    "features": "report each kind of features separately, or evaluate all runs with the same metrics/features",
    "features_sha256": "evaluate all runs with the same feature weights",
    "resize": "evaluate all runs with the same version of the features",
    "num_generated": "evaluate all runs with the same metrics.num_samples",
    "num_images": "evaluate all runs with the same metrics.num_images; train classifiers with the same "
    "dataset.diagnostic_size",
    "num_real": "evaluate all runs with the same metrics.num_real",
    "real_images": "the images differ in size, in the split or its seed, or in the files: report each set of images "
    "separately, or evaluate all runs on the same one",
}


def check_comparable(runs: Sequence[FinishedRun], factors: Sequence[str]) -> None:
    """Checks that the runs' scores are comparable in one table whose rows differ in `factors`.

    Metric cards must agree, except in their seeds and where a factor explains the difference. The runs of one seed must
    share the card's seeds too, because they are compared in pairs, on the same real images and from the same x_T.

    Raises:
        ValueError: the scores are not comparable; the message names the difference, the runs, and a fix.
    """
    kinds = _folders_by_value(runs, [run.card.measured for run in runs])
    if len(kinds) > 1:
        (first, (one, *_)), (second, (other, *_)), *_ = kinds.items()
        raise ValueError(
            f"these runs cannot be compared: some have {first} and some have {second} ({one} and {other}); report each "
            "kind separately"
        )
    cards = [run.card.flat() for run in runs]
    for name in dict.fromkeys(name for card in cards for name in card):
        if not _explained(name, factors):
            groups = _folders_by_value(runs, [card.get(name, NOT_RECORDED) for card in cards])
            if len(groups) > 1:
                raise ValueError(f"these runs cannot be compared: {_describe(name, groups)}; {_fix(name)}")
    for option, part in PAIRING_SEEDS.items():
        for seed in sorted({run.seed for run in runs}):
            of_seed = [run for run in runs if run.seed == seed]
            groups = _folders_by_value(of_seed, [getattr(run.card, part, None) for run in of_seed])
            studied = {option, "seeds.samples"} if part == "seed" else {option}
            if len(groups) > 1 and not studied & set(factors):
                raise ValueError(
                    f"these runs cannot be compared in pairs: among those with seed={seed}, "
                    f"{_describe(option, groups)}; evaluate all runs of a seed with the same {option}"
                )


def _explaining(name: str) -> tuple[str, ...]:
    """Prefixes of the options that may explain differences of this name on the card."""
    return next((options for prefix, options in EXPLAINED_BY.items() if f"{name}.".startswith(f"{prefix}.")), ())


def _explained(name: str, factors: Sequence[str]) -> bool:
    options = tuple(f"{option}." for option in _explaining(name))
    return any(f"{factor}.".replace("/", ".").startswith(options) for factor in factors)


def _folders_by_value(runs: Sequence[FinishedRun], values: Sequence[Any]) -> dict[Any, list[str]]:
    """Value on the card -> folder names of the runs with that value, in order of appearance."""
    groups: dict[Any, list[str]] = {}
    for run, value in zip(runs, values, strict=True):
        groups.setdefault(value, []).append(run.folder.name)
    return groups


def _describe(name: str, groups: dict[Any, list[str]]) -> str:
    """For example "split is 'test' in 3 runs (A, B, C) and 'val' in 1 run (D)"; at most three runs are named."""
    parts = []
    for value, names in groups.items():
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        parts.append(f"{value!r} in {len(names)} run{'s' if len(names) > 1 else ''} ({shown})")
    return f"{name} is {' and '.join(parts)}"


def _fix(name: str) -> str:
    if explaining := _explaining(name):
        options = " or ".join(f"{option}..." for option in explaining)
        return f"evaluate all runs with the same value, or compare by an option that sets it ({options} in by=)"
    return FIXES[name]
