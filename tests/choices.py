"""The choices of a Hydra group, found by their YAML, so that a new one is tested automatically."""

from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.runs.from_checkpoint import needs_checkpoint

CONF = Path(__file__).parents[1] / "conf"


def choices(group: str) -> list[str]:
    """The names of a group's choices that a training can have."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml") if not needs_checkpoint(group, path.stem))


GUIDANCES = [choice for choice in choices("guidance") if choice != "classifier"]
"""All but the guidance by the classifier of another run, which needs one."""


@cache
def config_of(group: str, choice: str, *overrides: str) -> DictConfig:
    """The group's part of train.yaml with this choice, interpolations resolved."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"{group}={choice}", *overrides])
    part = OmegaConf.select(config, group.replace("/", "."))
    return OmegaConf.create(OmegaConf.to_container(part, resolve=True))


def make(group: str, choice: str, *overrides: str, **options: Any) -> Any:
    """The object that a choice instantiates, with these options of its constructor."""
    return instantiate(config_of(group, choice, *overrides), **options)
