"""Configs as plain values: what a checkpoint may hold."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as dicts, lists, strings and numbers; interpolations stay what they are."""
    content = OmegaConf.to_container(config)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def resolved(config: DictConfig) -> DictConfig:
    """A copy with every interpolation resolved, except where the cache is.

    That belongs to the machine and not to the run, so a run that is resumed or evaluated elsewhere must find it anew.
    """
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return DictConfig({key: value if key == "paths" else _with_open_cache(value) for key, value in content.items()})


def _with_open_cache(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_open_cache(value) for value in node]
    if isinstance(node, dict):
        return {k: "${paths.cache_dir}" if k == "cache_dir" else _with_open_cache(v) for k, v in node.items()}
    return node


def command_record(config: DictConfig) -> dict[str, dict[str, str]]:
    """What this job's command line chose: {"choices": {group: choice}, "options": {key: value}}, all as words.

    A config says which class a group's choice stands for; a table wants the choice's name. Values are taken from the
    config, for the words of the command line may refer to others.
    """
    hydra = HydraConfig.get()
    choices = {
        group: str(choice)
        for group, choice in hydra.runtime.choices.items()
        if not group.startswith("hydra") and choice is not None
    }
    options = {}
    for override in hydra.overrides.task:
        key, _, word = override.lstrip("+~").partition("=")
        if key not in choices:
            options[key] = option_word(config, key, word)
    return {"choices": choices, "options": options}


def option_word(config: DictConfig, key: str, absent: str) -> str:
    """The value of an option as YAML writes it; `absent` where the config has no such option."""
    missing = object()
    value = OmegaConf.select(config, key, default=missing)
    if value is missing:
        return absent
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 0 and 0.0 are one choice
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
