"""The identity of a run: what its folder is named by, and whether two configs are the same run.

A name is a hash of the choices of groups and of the options that differ from what their YAML says, so a class that has
moved or an option that is new leaves it as it was. A default that has changed leaves it as well: two runs of one name
are the same only if `differences` finds none.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

from ddpm_lightning.runs.options import IDENTITY, Role, role_of
from ddpm_lightning.runs.plain_config import leaves, plain, without_hydra

NOT_IN_DEFAULTS = ("experiment", "debug")
"""Groups whose choices are files of other options' values."""


def short_hash(content: Any) -> str:
    """Eight hexadecimal digits of plain values, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:8]


def job_hash(root: DictConfig) -> str:
    """The hash that names a job, of its composed config with the node `hydra`; the same wherever the job runs."""
    choices = {group: choice for group, choice in chosen(root.hydra).items() if role_of(group) in IDENTITY}
    options = {option: same_value(_resolved_value(root, option)) for option in changed_options(root, root.hydra)}
    return short_hash({"choices": choices, "options": options})


def chosen(hydra: HydraConf | DictConfig) -> dict[str, str]:
    """The choice of each group but Hydra's own and those without one, by the node `hydra` of a composed config."""
    return {
        group: str(choice)
        for group, choice in hydra.runtime.choices.items()
        if choice is not None and group.partition("/")[0] != "hydra"
    }


def changed_options(config: DictConfig, hydra: HydraConf | DictConfig) -> frozenset[str]:
    """The options that make a run what it is and that are not as the YAML of the chosen groups has them.

    Values are compared as they are written: a reference to another option is at its default for any value of that one.

    Args:
        config: a composed config, before interpolations are resolved.
        hydra: its node `hydra`.
    """
    chosen_groups = tuple(sorted(chosen(hydra).items()))
    added = frozenset(word.partition("=")[0][1:] for word in hydra.overrides.task if word.startswith("+"))
    sources = tuple((source.provider, source.path) for source in hydra.runtime.config_sources)
    defaults = _defaults(str(hydra.job.config_name), chosen_groups, added, sources)
    written = dict(leaves(plain(without_hydra(config))))
    missing = object()
    return frozenset(
        option
        for option, value in written.items()
        if role_of(option) in IDENTITY and same_value(defaults.get(option, missing)) != same_value(value)
    )


@cache
def _defaults(
    config_name: str,
    choices: tuple[tuple[str, str], ...],
    added: frozenset[str],
    sources: tuple[tuple[str, str], ...],
) -> dict[str, Any]:
    """Every option as the YAML of these choices has it; `sources`, where the YAML comes from, is for the cache."""
    words = [
        f"{'+' if group in added else ''}{group}={choice}" for group, choice in choices if group not in NOT_IN_DEFAULTS
    ]
    loader = GlobalHydra.instance().config_loader()
    config = loader.load_configuration(config_name, words, run_mode=RunMode.RUN)
    return dict(leaves(plain(without_hydra(config))))


def differences(stored: Mapping[str, Any], config: Mapping[str, Any], changed: frozenset[str]) -> dict[str, str]:
    """The options in which a stored run and a config differ, with how; empty if they are the same run.

    An option that only `config` has is newer than the stored run, and agrees with it unless it is in `changed`; an
    `auto` that is not resolved agrees with anything.

    Args:
        stored: plain values, as this version would have stored them.
        config: plain values.
        changed: options of `config` that are not at their defaults.
    """
    theirs, ours = dict(leaves(stored)), dict(leaves(config))
    result = {}
    for option in sorted(theirs.keys() | ours.keys()):
        if role_of(option) not in IDENTITY:
            continue
        if option not in ours:
            result[option] = f"{theirs[option]} there, absent here"
        elif option not in theirs:
            if option in changed:
                result[option] = f"absent there, {ours[option]} here"
        elif ours[option] != "auto" and same_value(theirs[option]) != same_value(ours[option]):
            result[option] = f"{theirs[option]} there, {ours[option]} here"
    return result


def without_length(options: Mapping[str, str]) -> dict[str, str]:
    """Those of the options that a resumed run must share."""
    return {option: how for option, how in options.items() if role_of(option) is not Role.LENGTH}


def same_value(value: Any) -> Any:
    """The value in a form that is equal for what means the same: 1.0 and 1, a path with and without a slash at its end.

    Examples: "photos/" -> "photos", "./a//b" -> "a/b", 2.0 -> 2.
    """
    if isinstance(value, list):
        return [same_value(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and "/" in value and "://" not in value:
        return os.path.normpath(value)
    return value


def _resolved_value(root: DictConfig, option: str) -> Any:
    """The option's value; as it is written where it refers to what only a checkpoint has."""
    try:
        value = OmegaConf.select(root, option)
    except InterpolationKeyError:
        node = OmegaConf.to_container(root)
        for key in option.split("."):
            node = node[key]  # type: ignore[index,call-overload]
        return node
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
