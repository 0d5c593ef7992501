"""The identity of a run: the hash in its folder's name, and the comparison of two configs.

The hash covers the choices that are not the verb's defaults, and the options that are not the defaults of these
choices. So a class that has moved, and an option or a group that is new, leave it as it was. A default that has changed
leaves it as well: two runs of one name are the same only if `differences` finds none.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

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


class Defaults(NamedTuple):
    """What a verb's YAML says.

    Attributes:
        choices: the choice of each group, None for none.
        options: every option by its path, written as in the YAML.
    """

    choices: dict[str, str | None]
    options: dict[str, Any]


class Changed(NamedTuple):
    """The options of a run's identity that are not at their defaults.

    Attributes:
        in_choices: options that differ from the YAML of the chosen groups.
        in_verb: options that differ from the YAML where nothing is chosen by hand.
    """

    in_choices: frozenset[str]
    in_verb: frozenset[str]


NOTHING_CHANGED = Changed(frozenset(), frozenset())


def job_hash(root: DictConfig) -> str:
    """The hash that names a job, of its composed config with the node `hydra`; the same wherever the job runs."""
    choices = {group: choice for group, choice in _by_hand(root.hydra).items() if role_of(group) in IDENTITY}
    changed = changed_options(without_hydra(root), root.hydra).in_choices
    options = {option: same_value(_resolved_value(root, option)) for option in changed}
    return short_hash({"choices": choices, "options": options})


def chosen(hydra: HydraConf | DictConfig) -> dict[str, str]:
    """The choice of each group but Hydra's own and those without one, by the node `hydra` of a composed config."""
    return {group: str(choice) for group, choice in _groups(hydra).items() if choice is not None}


def _groups(hydra: HydraConf | DictConfig) -> dict[str, str | None]:
    return {group: choice for group, choice in hydra.runtime.choices.items() if group.partition("/")[0] != "hydra"}


def changed_options(config: DictConfig, hydra: HydraConf | DictConfig) -> Changed:
    """The options of a run's identity that differ from the YAML.

    Values are compared as they are written: a reference to another option is at its default for any value of that one.

    Args:
        config: a composed config, before interpolations are resolved, without the node `hydra`.
        hydra: that node.
    """
    written = {option: same_value(value) for option, value in leaves(plain(config)) if role_of(option) in IDENTITY}
    of_choices, of_verb = _defaults(hydra, chosen(hydra)), _defaults(hydra, {})
    return Changed(*(_unequal(written, defaults.options) for defaults in (of_choices, of_verb)))


def _unequal(written: Mapping[str, Any], defaults: Mapping[str, Any]) -> frozenset[str]:
    missing = object()
    return frozenset(option for option, value in written.items() if same_value(defaults.get(option, missing)) != value)


def _by_hand(hydra: HydraConf | DictConfig) -> dict[str, str]:
    """The choices that follow neither from the verb's defaults nor from other choices."""
    choices = chosen(hydra)
    outer = {group: choice for group, choice in choices.items() if "/" not in group}
    default, implied = _defaults(hydra, {}).choices, _defaults(hydra, outer).choices
    return {
        group: choice
        for group, choice in choices.items()
        if choice != (implied if "/" in group else default).get(group)
    }


def _defaults(hydra: HydraConf | DictConfig, choices: Mapping[str, str]) -> Defaults:
    """What the YAML says with these choices, apart from those whose files set other groups' options."""
    name, sources = str(hydra.job.config_name), tuple((s.provider, s.path) for s in hydra.runtime.config_sources)
    overrides = tuple(str(word) for word in hydra.overrides.hydra if str(word).startswith("hydra.searchpath="))
    result = _composed(name, overrides, sources)
    # From the outside in, because a choice may bring groups of its own; a group that none brings is added.
    for depth in range(1 + max((group.count("/") for group in choices), default=-1)):
        level = {g: c for g, c in choices.items() if g.count("/") == depth and g not in NOT_IN_DEFAULTS}
        there = result.choices
        new = [f"{'' if g in there else '+'}{g}={c}" for g, c in sorted(level.items()) if there.get(g) != c]
        if new:
            overrides += tuple(new)
            result = _composed(name, overrides, sources)
    return result


@cache
def _composed(config_name: str, overrides: tuple[str, ...], sources: tuple[tuple[str, str], ...]) -> Defaults:
    """The verb's YAML with these overrides; `sources`, where it comes from, is there for the cache."""
    config = GlobalHydra.instance().config_loader().load_configuration(config_name, [*overrides], RunMode.RUN)
    return Defaults(_groups(config.hydra), dict(leaves(plain(without_hydra(config)))))


def differences(stored: Mapping[str, Any], config: Mapping[str, Any], changed: Changed) -> dict[str, str]:
    """The options in which a stored run and a config differ, with how; empty if they are the same run.

    An option that only `config` has is newer than the stored run, and agrees with it if it is at its default; so does a
    group, if its choice is the default one. A precision of `auto` agrees with any.

    Args:
        stored: plain values, as this version would have stored them.
        config: plain values.
        changed: options of `config` that are not at their defaults.
    """
    theirs, ours = dict(leaves(stored)), dict(leaves(config))
    result = {}
    for option in sorted(theirs.keys() | ours.keys()):
        if role_of(option) not in IDENTITY or (role_of(option) is Role.LENGTH and "checkpoint" in config):
            continue  # the checkpoint's step says how long an evaluated model was trained
        if option not in ours:
            result[option] = f"{theirs[option]} there, absent here"
        elif option not in theirs:
            if option in (changed.in_choices if option.partition(".")[0] in stored else changed.in_verb):
                result[option] = f"absent there, {ours[option]} here"
        elif same_value(theirs[option]) != same_value(ours[option]) and not _is_open(option, ours[option]):
            result[option] = f"{theirs[option]} there, {ours[option]} here"
    return result


def _is_open(option: str, value: Any) -> bool:
    return option == "trainer.precision" and value == "auto"


def without_length(options: Mapping[str, str]) -> dict[str, str]:
    """The differences that a resume does not allow."""
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
