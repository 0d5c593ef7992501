"""Configs as plain values, and plain values as text."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.runs.options import Role, role_of
from ddpm_lightning.runs.stored_values import REFERENCE


def without_hydra(config: DictConfig) -> DictConfig:
    """The composed config without Hydra's own node."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as dicts, lists, strings and numbers; interpolations stay what they are."""
    content = OmegaConf.to_container(config)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def resolved(config: DictConfig) -> DictConfig:
    """A copy with its interpolations resolved, except those by which places and observers refer to other options.

    Such an option belongs to the machine or may change when the run is resumed, and what refers to it changes with it.
    """
    result = DictConfig(OmegaConf.to_container(config, resolve=True))
    for option, written in leaves(plain(config)):
        if isinstance(written, str) and REFERENCE.search(written) and _stays_open(option):
            OmegaConf.update(result, option, written, merge=False)
    return result


def _stays_open(option: str) -> bool:
    return role_of(option) in (Role.PLACE, Role.OBSERVER) and option.partition(".")[0] != "paths"


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each option of plain values by its path; a list is one value, and so is a section without options."""
    if isinstance(node, Mapping) and (node or not path):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def value_as_text(config: DictConfig, option: str, absent: str) -> str:
    """The value of an option as YAML writes it; `absent` where the config has no such option."""
    missing = object()
    value = OmegaConf.select(config, option, default=missing)
    if value is missing:
        return absent
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 0 and 0.0 are one choice
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
