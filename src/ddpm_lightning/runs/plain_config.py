"""Configs as plain values, and plain values as text."""

from typing import Any

from omegaconf import DictConfig, OmegaConf


def without_hydra(config: DictConfig) -> DictConfig:
    """The composed config without Hydra's own node."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as dicts, lists, strings and numbers; interpolations stay what they are."""
    content = OmegaConf.to_container(config)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def resolved(config: DictConfig) -> DictConfig:
    """A copy with every interpolation resolved, except the place of the cache.

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


def value_as_text(config: DictConfig, option: str, absent: str) -> str:
    """The value of an option as YAML writes it; `absent` where the config has no such option."""
    missing = object()
    value = OmegaConf.select(config, option, default=missing)
    if value is missing:
        return absent
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 0 and 0.0 are one choice
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
