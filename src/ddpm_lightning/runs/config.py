"""The config of a run, made once from the command line or from a stored one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from ddpm_lightning.runs.identity import NOTHING_CHANGED, Changed, changed_options, chosen
from ddpm_lightning.runs.length import (
    LIMITS,
    check_end,
    check_not_shortened,
    replace_default_limit,
    replace_stored_limit,
)
from ddpm_lightning.runs.option_types import with_right_types
from ddpm_lightning.runs.options import RESUMABLE, ROLES, Role, role_of
from ddpm_lightning.runs.plain_config import plain, resolved, value_as_text
from ddpm_lightning.runs.stored_config import CONFIG_VERSION

NAMES = ("name", "experiment_name")
"""Options that name the folder of a run, which `resume` gives."""


@dataclass(frozen=True)
class RunConfig:
    """A run's config with every type checked, and every interpolation and every `auto` resolved.

    Attributes:
        options: what the run is built from.
        stored: the same as plain values with the version of their form, for `config.yaml` and checkpoints.
        changed: the options that are not at the defaults of this version's YAML.
        changes_length: whether it trains longer, or less long, than the stored config of the run that it resumes says.
    """

    options: DictConfig
    stored: dict[str, Any]
    changed: Changed = NOTHING_CHANGED
    changes_length: bool = False

    @classmethod
    def of(cls, config: DictConfig, changed: Changed = NOTHING_CHANGED, changes_length: bool = False) -> RunConfig:
        """A composed or a stored config, checked and resolved.

        Raises:
            ValueError: the value of an option has a wrong type.
        """
        from ddpm_lightning.runs.hardware import resolve_auto  # torch is not needed to look into a folder

        options = resolved(with_right_types(config))
        resolve_auto(options)
        return cls(options, {"config_version": CONFIG_VERSION, **plain(options)}, changed, changes_length)

    @classmethod
    def of_command(cls, command: DictConfig, previous: Mapping[str, Any] | None = None) -> RunConfig:
        """The config of a command line.

        Args:
            command: as Hydra composed it.
            previous: the stored config of the run that the command continues, if any. Its resolved precision is kept
                where the command says `auto`, so that a run keeps its number format on another machine.

        Raises:
            ValueError: the value of an option has a wrong type, or the training has no end.
        """
        hydra = HydraConfig.get()
        config = command.copy()
        with open_dict(config):
            config.hydra = command_record(config, hydra)
        if previous is not None and config.trainer.precision == "auto":
            config.trainer.precision = previous["trainer"]["precision"]
        changed = changed_options(command, hydra)
        replace_default_limit(config.trainer, changed, _given(hydra).values())
        result = cls.of(config, changed)
        check_end(result.options.trainer)
        return result

    @classmethod
    def resumed(cls, stored: Mapping[str, Any], command: DictConfig, done: bool, last_checkpoint: Path) -> RunConfig:
        """The stored config of a run, with what the command line may change when it resumes it.

        Args:
            stored: the config of the run.
            command: as Hydra composed it.
            done: whether the run is done.
            last_checkpoint: of the run, if it has one.

        Raises:
            ValueError: for an option that would make it another run, or another name, or that has a wrong type, or for
                a training shorter than what is done.
        """
        config, hydra = DictConfig(dict(stored)), HydraConfig.get()
        given = _given(hydra)
        for word, option in given.items():
            if role_of(option) not in RESUMABLE and _repeats(config, command, option):
                continue  # as of a path that this command has to say
            if role_of(option) not in RESUMABLE:
                raise ValueError(
                    f"resume continues a run as it was configured; {word} would make it another run. What may change: "
                    f"{_resumable()}"
                )
            if option in NAMES:
                raise ValueError(f"resume says which run to continue, in which folder: leave out {word}")
            if word.startswith("~"):
                OmegaConf.update(config, option, None if "." in option else {}, merge=False)
            elif "." not in option and OmegaConf.is_dict(command[option]):
                _replace_choice(config, command, option)
            elif option != "resume":
                OmegaConf.update(config, option, OmegaConf.select(command, option), merge=False)
        record = command_record(config, hydra)
        record["choices"] = {group: choice for group, choice in record["choices"].items() if group in given.values()}
        config.hydra = merged_records(stored.get("hydra"), record)
        replace_stored_limit(config.trainer, given.values())
        for option in (f"trainer.{limit}" for limit in LIMITS):
            if option in config.hydra.options:
                config.hydra.options[option] = value_as_text(config, option, "")
        changes_length = any(stored["trainer"].get(limit) != config.trainer.get(limit) for limit in LIMITS)
        result = cls.of(config, changes_length=changes_length)
        if changes_length:
            check_end(result.options.trainer)
            check_not_shortened(result.options.trainer, last_checkpoint, done)
        return result


def _given(hydra: HydraConf) -> dict[str, str]:
    """Each word of the command line with the option, or the group, that it sets."""
    return {word: word.lstrip("+~").partition("=")[0] for word in hydra.overrides.task}


def given_options(hydra: HydraConf) -> list[str]:
    """The options and groups that the command line sets, in its order."""
    return list(_given(hydra).values())


def merged_records(
    earlier: Mapping[str, Mapping[str, str]] | None, record: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """What an earlier command line and a later one chose."""
    earlier = earlier or {"choices": {}, "options": {}}
    return {part: {**earlier[part], **record[part]} for part in ("choices", "options")}


def _repeats(stored: DictConfig, command: DictConfig, option: str) -> bool:
    """Whether a command says of an option, or of a group, what a stored config has."""
    choices = chosen(HydraConfig.get())
    if option in choices:
        record = stored.get("hydra") or {"choices": {}}
        return bool(record["choices"].get(option) == choices[option])
    given = OmegaConf.select(command, option)
    return given is not None and bool(OmegaConf.select(stored, option) == given)


def _resumable() -> str:
    """The options that may change, by role."""
    hidden = ("hydra", "config_version", "resume", *NAMES)
    options = {role: [o for o in ROLES if ROLES[o] is role and o not in hidden] for role in Role if role in RESUMABLE}
    return "; ".join(f"{role}: {', '.join(names)}" for role, names in options.items())


def _replace_choice(config: DictConfig, command: DictConfig, group: str) -> None:
    """Replaces the group's options of the same role as the group by those of the command's choice."""

    def of_same_role(section: DictConfig) -> list[str]:
        return [key for key in map(str, section) if role_of(f"{group}.{key}") is role_of(group)]

    for key in of_same_role(config[group]):
        del config[group][key]
    written = plain(command[group])  # with its references, which are now to the run's own options
    for key in of_same_role(command[group]):
        config[group][key] = written[key]


def command_record(config: DictConfig, hydra: HydraConf) -> dict[str, dict[str, str]]:
    """What this job's command line chose, as strings: {"choices": {group: choice}, "options": {option: value}}.

    A config says which class a group's choice stands for; a table wants the choice's name. Values are taken from the
    config, for those on the command line may refer to others.
    """
    choices = chosen(hydra)
    given = (word.lstrip("+~").partition("=") for word in hydra.overrides.task)
    options = {option: value_as_text(config, option, value) for option, _, value in given if option not in choices}
    return {"choices": choices, "options": options}
