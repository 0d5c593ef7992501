"""Configs as plain values: what a checkpoint may hold."""

from typing import Any

from omegaconf import DictConfig, OmegaConf


def plain(config: DictConfig) -> dict[str, Any]:
    """The config with every interpolation resolved, as dicts, lists, strings and numbers."""
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
