"""Finds the finished runs of a sweep."""

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.sweep.runs import FinishedRun
from ddpm_lightning.training.run_folder import RunFolder

SAYS_WHERE = ("name", "resume", "checkpoint", "paths", "hydra", "logger", "optimize")
"""Options, with all below them, that say where a run lives and not what it is."""
SAYS_HOW = (*SAYS_WHERE, "trainer", "callbacks")
"""Groups whose choice is of no interest unless a command line makes it."""
NOT_THERE = object()


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
    jobs = sorted({path.parent for folder in folders for path in folder.rglob("status")})
    states = Counter(RunFolder(job).read_status()["state"] for job in jobs)
    done = [job for job in jobs if RunFolder(job).read_status()["state"] == "done"]
    configs = {job: RunFolder(job).read_config() for job in done}
    chosen = _chosen_options(configs.values())
    runs = [run for job, config in configs.items() if (run := _read(job, config, chosen)) is not None]
    told = ", ".join(f"{count} {state}" for state, count in states.items()) or "no run at all"
    where = ", ".join(map(str, folders))
    if not runs:
        raise ValueError(f"there is no finished run with scores in {where}: it holds {told}")
    if len(done) < len(jobs):
        warnings.warn(f"only the finished runs of {where} are reported: it holds {told}", stacklevel=2)
    return runs


def _read(folder: Path, config: Mapping[str, Any], chosen: Sequence[str]) -> FinishedRun | None:
    """The run in a folder; None with a warning if its scores cannot be read."""
    file = folder / "metrics.json"
    if not file.is_file():
        warnings.warn(f"{folder} is left out: it has no metrics.json (callbacks without scores?)", stacklevel=3)
        return None
    try:
        scores = json.loads(file.read_text())
        card = MetricCard(**scores["card"])
        values, diagnostics, cost = scores["values"], scores["diagnostics"], scores.get("cost", {})
    except (ValueError, KeyError, TypeError) as error:
        warnings.warn(f"{folder} is left out: {file} is truncated or altered ({error})", stacklevel=3)
        return None
    return FinishedRun(
        folder=folder,
        options=_options(config, chosen),
        seed=int(config["seed"]),
        values=values,
        card=card,
        diagnostics={name.removeprefix("test/"): value for name, value in diagnostics.items()},
        cost=cost,
    )


def _record(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's command lines chose."""
    return config.get("hydra", {"choices": {}, "overrides": []})


def _chosen_options(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the command line of any run sets, in order of appearance, but for what says where a run lives."""
    overrides = [override for config in configs for override in _record(config)["overrides"]]
    keys = dict.fromkeys(override.lstrip("+~").partition("=")[0] for override in overrides)
    return [key for key in keys if key != "seed" and key.split(".")[0] not in SAYS_WHERE]


def _options(config: Mapping[str, Any], chosen: Sequence[str]) -> dict[str, str]:
    """The chosen options as this run has them, by its own command line or without, and the choices of all groups.

    A recipe's choices of groups are among them, as `loss_on` of `experiment=mnist_quick`. The plain options that a
    recipe sets are not; what tells such runs apart is `experiment` itself.
    """
    choices = {group: str(choice) for group, choice in _record(config)["choices"].items() if choice is not None}
    content = OmegaConf.create(dict(config))
    options = {}
    for key in [*chosen, "checkpoint.step"]:  # the step is there for evaluations
        value = OmegaConf.select(content, key, default=NOT_THERE)
        if key in choices:
            options[key] = choices[key]
        elif value is not NOT_THERE:
            options[key] = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    known = {group: choice for group, choice in choices.items() if group.split("/")[0] not in SAYS_HOW}
    return {**options, **known}
