"""The config of a run, made once from the command line or from a stored one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from ddpm_lightning.runs.identity import changed_options, chosen
from ddpm_lightning.runs.options import RESUMABLE, ROLES, Role, role_of
from ddpm_lightning.runs.plain_config import plain, resolved, value_as_text
from ddpm_lightning.runs.stored_config import CONFIG_VERSION


@dataclass(frozen=True)
class RunConfig:
    """A run's config with every interpolation and every `auto` resolved.

    Attributes:
        options: what the run is built from.
        stored: the same as plain values with the version of their form, for `config.yaml` and checkpoints.
        changed: the options that are not at the defaults of this version's YAML.
        extends: whether the run of this config goes further than the one in its folder was meant to.
    """

    options: DictConfig
    stored: dict[str, Any]
    changed: frozenset[str] = frozenset()
    extends: bool = False

    @classmethod
    def of(cls, config: DictConfig, changed: frozenset[str] = frozenset(), extends: bool = False) -> RunConfig:
        """A composed or a stored config, resolved."""
        from ddpm_lightning.runs.hardware import resolve_auto  # torch is not needed to look into a folder

        options = resolved(config)
        resolve_auto(options)
        return cls(options, {"config_version": CONFIG_VERSION, **plain(options)}, changed, extends)

    @classmethod
    def of_command(cls, command: DictConfig, begun: Mapping[str, Any] | None = None) -> RunConfig:
        """The config of a command line.

        Args:
            command: as Hydra composed it.
            begun: the stored config of the run that the command continues; what it found for `trainer.precision=auto`
                holds on, so that a run keeps its number format on another machine.
        """
        hydra = HydraConfig.get()
        config = command.copy()
        with open_dict(config):
            config.hydra = command_record(config, hydra)
        if begun is not None and config.trainer.precision == "auto":
            config.trainer.precision = begun["trainer"]["precision"]
        return cls.of(config, changed_options(command, hydra))

    @classmethod
    def resumed(cls, stored: Mapping[str, Any], command: DictConfig) -> RunConfig:
        """The stored config of a run, with what the command line may change when it resumes it.

        Raises:
            ValueError: for an option that would make it another run.
        """
        config, hydra = DictConfig(dict(stored)), HydraConfig.get()
        for word in hydra.overrides.task:
            option = word.lstrip("+~").partition("=")[0]
            if role_of(option) not in RESUMABLE:
                raise ValueError(
                    f"resume continues a run as it was configured; {word} would make it another run. What may change: "
                    f"{_resumable()}"
                )
            if "." not in option and OmegaConf.is_dict(command[option]):
                _choose(config, command, option)
            elif option != "resume":
                OmegaConf.update(config, option, OmegaConf.select(command, option), merge=False)
        extends = any(config.trainer[limit] != stored["trainer"][limit] for limit in ("max_steps", "max_epochs"))
        return cls.of(config, extends=extends)


def _resumable() -> str:
    """The options that may change, by role."""
    hidden = ("hydra", "config_version", "resume")
    options = {role: [o for o in ROLES if ROLES[o] is role and o not in hidden] for role in Role if role in RESUMABLE}
    return "; ".join(f"{role}: {', '.join(names)}" for role, names in options.items())


def _choose(config: DictConfig, command: DictConfig, group: str) -> None:
    """Takes over what the command's choice of a group says, of the options that have the role of the choice."""
    taken = [key for key in map(str, command[group]) if role_of(f"{group}.{key}") is role_of(group)]
    for key in [key for key in map(str, config[group]) if role_of(f"{group}.{key}") is role_of(group)]:
        del config[group][key]
    for key in taken:  # as it is written, so that what it refers to is the run's
        config[group][key] = OmegaConf.to_container(command[group])[key]  # type: ignore[index,call-overload]


def command_record(config: DictConfig, hydra: HydraConf) -> dict[str, dict[str, str]]:
    """What this job's command line chose, as strings: {"choices": {group: choice}, "options": {option: value}}.

    A config says which class a group's choice stands for; a table wants the choice's name. Values are taken from the
    config, for those on the command line may refer to others.
    """
    choices = chosen(hydra)
    return {"choices": choices, "options": _options_given(config, hydra.overrides.task, choices)}


def _options_given(config: DictConfig, words: Sequence[str], choices: Mapping[str, str]) -> dict[str, str]:
    options = {}
    for word in words:
        option, _, value = word.lstrip("+~").partition("=")
        if option not in choices:
            options[option] = value_as_text(config, option, value)
    return options
