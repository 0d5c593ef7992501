"""The checks of a command line that Hydra does not make: what it would take silently, or refuse without a remedy."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.runs.from_checkpoint import needs_checkpoint, refuse_in_training
from ddpm_lightning.verbs.composition import Composition
from ddpm_lightning.verbs.grammar import read_overrides

_SEVERAL = ("callbacks", "logger", "experiment", "debug")
"""Groups of which several choices make sense together."""
_RUNS = ("checkpoint", "resume")
_REMOVABLE = ("callbacks.", "logger.")


def check_options(conf: Path, config_name: str, words: Sequence[str]) -> None:
    """Checks the options of a command line before Hydra composes a config from them.

    Args:
        conf: folder of the YAML files.
        config_name: the verb's file there.
        words: the command line, flags first.

    Raises:
        ValueError: two runs are named; an option is empty, not there to be added or removed, or has several values
            without -m; a group is given something else than one of its choices.
    """
    flags = get_args_parser().parse_intermixed_args(list(words))
    options: list[str] = flags.overrides
    overrides = read_overrides(options)
    for override in overrides:
        _check_removal(override)
        _check_value(override, is_sweep=flags.multirun)
    _check_repeated(overrides)
    own = [f"--config-dir={flags.config_dir}"] if flags.config_dir else []
    # A removal may be that of an addition.
    without = [
        word
        for word, override in zip(options, overrides, strict=True)
        if not _adds(override) and not override.is_delete()
    ]
    composition = Composition(conf, config_name, [*own, *(w for w in without if w.startswith("hydra.searchpath="))])
    for override in overrides:
        _check_group(override, composition)
    if added := [override for override in overrides if _adds(override)]:
        config = Composition(conf, config_name, [*own, *without]).config
        for override in added:
            _check_added(override, config, composition, options)


def _adds(override: Override) -> bool:
    return override.is_add() or override.is_force_add()


def _text(override: Override) -> str:
    """The value as it is typed."""
    return str(override.input_line).partition("=")[2]


def _check_repeated(overrides: Sequence[Override]) -> None:
    """Refuses two runs for one command; of other options the last one counts, so that a script's can be changed."""
    for key in _RUNS:
        given = [_text(override) for override in overrides if override.key_or_group == key]
        if len({*given}) > 1:
            raise ValueError(f"{key}= is given twice, as {given[0]} and as {given[-1]}: leave out one")


def _check_value(override: Override, is_sweep: bool) -> None:
    key, text = override.key_or_group, _text(override)
    if override.is_delete():
        return
    if text == "":
        raise ValueError(f"{key}= has no value: give one ({key}=null for none), or leave it out")
    if override.is_sweep_override() and not is_sweep:
        values = (
            f"""; a list is written {key}=[{text}], and text with commas '{key}="{text}"'"""
            if override.is_choice_sweep()
            else ""
        )
        raise ValueError(f"{key}={text} has several values: add -m to sweep over them{values}")


def _check_removal(override: Override) -> None:
    if override.is_delete() and not override.key_or_group.startswith(_REMOVABLE):
        key = override.key_or_group
        raise ValueError(
            f"~{key} would remove an option that every run has: give it another value with {key}=... (only callbacks "
            "and loggers can be removed, as in ~callbacks.pictures)"
        )


def _check_group(override: Override, composition: Composition) -> None:
    """Checks that a group is given one of its choices, and that its choice is not set as if it were an option."""
    key = override.key_or_group
    group = key.replace(".", "/")
    choices = composition.choices(group)
    if not choices or override.is_delete():
        return
    values = list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]
    if key != group:
        if isinstance(values[0], str) and not values[0].startswith("${"):
            shown = _shown_choices(composition, group)
            raise ValueError(f"{key} is a group: choose with {group}={_text(override)} (from {shown})")
        return
    for value in values:
        _check_chosen(group, value, composition)


def _shown_choices(composition: Composition, group: str) -> str:
    trains = composition.config_name == "train"
    return ", ".join(c for c in composition.choices(group) if not (trains and needs_checkpoint(group, c)))


def _check_chosen(group: str, value: Any, composition: Composition) -> None:
    """Checks one value of a group: a choice of it, or a list of choices where several make sense together."""
    if isinstance(value, dict):
        return
    possible = f"choose from {_shown_choices(composition, group)}"
    if isinstance(value, list) and group not in _SEVERAL and group in composition.chosen:
        listed = ",".join(map(str, value))
        raise ValueError(f"{group} takes one choice, not a list: {possible}; a sweep is written -m {group}={listed}")
    for choice in value if isinstance(value, list) else [value]:
        if not isinstance(choice, str):
            shown = "null" if choice is None else str(choice).lower()
            raise ValueError(f"{group}={shown} is not possible: {possible}, or leave it out")
        folder, _, name = choice.strip("'\"").rpartition("/")
        if name not in composition.choices(f"{group}/{folder}".rstrip("/")) and not name.startswith("${"):
            stem = name.removesuffix(".yaml").removesuffix(".yml")
            close = difflib.get_close_matches(stem.lower(), composition.choices(group), n=1, cutoff=0.5)
            guess = f". Did you mean {group}={close[0]}?" if close else "."
            raise ValueError(f"unknown {group} {choice!r}: {possible}{guess}")
        if composition.config_name == "train":
            refuse_in_training(group, name)


def _check_added(override: Override, config: DictConfig, composition: Composition, words: Sequence[str]) -> None:
    """Checks that `+` adds something that is not there, and that something reads it."""
    key = override.key_or_group
    if composition.choices(key):
        if key in composition.chosen or override.is_force_add():
            raise ValueError(f"{key} is a group that every run has: leave out the +, as in {key}={_text(override)}")
        return
    parent, _, last = key.rpartition(".")
    section = OmegaConf.select(config, parent, throw_on_resolution_failure=False) if parent else config
    if isinstance(section, DictConfig) and last in section:
        if override.is_add():
            raise ValueError(f"{key} exists already: leave out the +, as in {key}={_text(override)}")
        return
    if parent and parent not in ("seeds", "paths", "optimize"):
        return  # a constructor refuses what it does not know
    if any(f"${{{key}" in text for text in (*words, OmegaConf.to_yaml(config))):
        return
    if isinstance(section, DictConfig) and (close := difflib.get_close_matches(last, map(str, section), n=1)):
        meant = f"{parent}.{close[0]}".lstrip(".")
        raise ValueError(f"+{key} adds an option that nothing reads. Did you mean {meant}=?")
    raise ValueError(f"+{key} adds an option that nothing reads: no other option refers to it as ${{{key}}}")
