"""Finds the finished runs of a sweep."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.metrics.classifier_card import ClassifierCard
from ddpm_lightning.report.finished_run import Card, FinishedRun
from ddpm_lightning.runs.options import FACTORS, role_of
from ddpm_lightning.runs.plain_config import value_as_text
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.sweep_folder import PLAN_FILE, JobState, SweepFolder, job_in


def collect(folders: Sequence[Path]) -> list[FinishedRun]:
    """The finished runs in folders that are runs themselves or hold runs, in the order of their names.

    Warns of what is left out: runs that are not done, and scores that cannot be read.

    Raises:
        FileNotFoundError: if a folder does not exist.
        ValueError: if there is no finished run; says what there is.
    """
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise FileNotFoundError(f"there is no folder {', '.join(missing)}")
    begun = {path.parent for folder in folders for path in folder.rglob("status")}
    planned = {path.parent / job for folder in folders for path in folder.rglob(PLAN_FILE) for job in _plan(path)}
    jobs = {folder: job_in(folder) for folder in sorted(begun | planned)}
    configs = {folder: RunFolder(folder).read_config() for folder, job in jobs.items() if job.state is JobState.DONE}
    keys = dict.fromkeys(key for config in configs.values() for key in _record(config)["options"])
    runs = [run for folder, config in configs.items() if (run := _read(folder, config, list(keys))) is not None]
    _name_predictions(runs)
    unfinished = [f"{folder.name} ({job.state})" for folder, job in jobs.items() if job.state is not JobState.DONE]
    if not runs:
        found = ", ".join(unfinished) or (f"{len(jobs)} runs without scores" if jobs else "no runs")
        raise ValueError(f"there is no finished run with scores in {', '.join(map(str, folders))}: it contains {found}")
    if unfinished:
        warnings.warn(f"left out because unfinished: {', '.join(unfinished)}", stacklevel=2)
    return runs


def _name_predictions(runs: Sequence[FinishedRun]) -> None:
    """Fills in `predict` (= `loss_on`) where other runs set it."""
    if any("predict" in run.options for run in runs):
        for run in runs:
            if "loss_on" in run.options:
                run.options.setdefault("predict", run.options["loss_on"])


def _plan(file: Path) -> list[str]:
    return SweepFolder(file.parent).read_plan()["jobs"] or []


def _read(folder: Path, config: dict[str, Any], keys: Sequence[str]) -> FinishedRun | None:
    """The run in a folder; None with a warning if its scores cannot be read."""
    file = folder / "metrics.json"
    if not file.is_file():
        warnings.warn(f"{folder} is left out: it has no metrics.json (callbacks without scores?)", stacklevel=3)
        return None
    try:
        scores = json.loads(file.read_text())
        card = _card(scores["card"])
        values, diagnostics, cost = scores["values"], scores["diagnostics"], scores.get("cost", {})
    except (ValueError, KeyError, TypeError) as error:
        warnings.warn(f"{folder} is left out: {file} is truncated or altered ({error})", stacklevel=3)
        return None
    return FinishedRun(
        folder=folder,
        options=_options(config, keys),
        seed=int(config["seed"]),
        values=values,
        card=card,
        diagnostics={name.removeprefix("test/"): value for name, value in diagnostics.items()},
        cost=cost,
    )


def _card(content: Mapping[str, Any]) -> Card:
    return ClassifierCard.from_dict(content) if ClassifierCard.describes(content) else MetricCard.from_dict(content)


def _record(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What a run's command lines chose; nothing for a run that was made without one."""
    record: dict[str, dict[str, str]] = config.get("hydra", {"choices": {}, "options": {}})
    return record


def _options(config: dict[str, Any], keys: Sequence[str]) -> dict[str, str]:
    """A group's choice by its name, and the values of `keys`, which some run's command line sets.

    An evaluation's record has the options of its training, whose place in the config another value may have taken.
    """
    record, content = _record(config), OmegaConf.create(config)
    values = {key: record["options"].get(key, value_as_text(content, key, "")) for key in keys}
    options = {
        key: value for key, value in {**record["choices"], **values}.items() if value and role_of(key) in FACTORS
    }
    step = config.get("checkpoint", {}).get("step")
    return options if step is None else {**options, "checkpoint.step": str(step)}
