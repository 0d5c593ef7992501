"""Which classes a config out of a file may name: the one list, asked before anything is built."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_lightning.runs.dotted_name import imported
from ddpm_lightning.runs.find_checkpoint import LAST_CHECKPOINT
from ddpm_lightning.runs.own_yaml import own_targets, targets_in
from ddpm_lightning.runs.stored_values import RefusedError, walk

if TYPE_CHECKING:
    from omegaconf import DictConfig

WATCHERS = ("callbacks", "logger")
"""Sections that are built for a training alone: whoever takes a model out of a file leaves them."""
NEVER_A_REMEDY = frozenset({*sys.stdlib_module_names, "ddpm_lightning", "hydra", "omegaconf"})
"""Packages that nobody has to trust: no run needs more of them than our YAML files name."""


@dataclass(frozen=True)
class Trust:
    """What the user's own words allow a stored config to name, besides what everybody's may.

    Attributes:
        packages: those of `trust=`: what is defined in them is allowed, and nothing that they import.
        names: those that this command's options and the user's own YAML files have.
    """

    packages: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()

    def allows(self, name: str) -> bool:
        """Whether a stored config may name this class or function; imports it only from a trusted package."""
        return (
            name in own_targets()
            or name in self.names
            or _is_optimizer(name)
            or any(_is_defined_in(name, package) for package in self.packages)
        )


NOBODY = Trust()
"""Nothing but our own YAML files' classes and torch's optimizers."""


def packages_of(value: Any) -> tuple[str, ...]:
    """The packages of the option `trust`: null, "a,b" or [a, b]."""
    words = value.split(",") if isinstance(value, str) else value or ()
    return tuple(word for word in (str(word).strip() for word in words) if word)


def trust_of_command(command: DictConfig, own: str | Path | None = None) -> Trust:
    """What the command line of this very command allows: `trust=`, its options, and the user's own YAML files.

    Args:
        command: the config as Hydra composed it, not yet mixed with one out of a file.
        own: the run or checkpoint that the command names; YAML files in its folder do not speak for the user, even if
            --config-dir is a folder above it.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    names = {value for option, value in walk(OmegaConf.to_container(command), "the command") if _names(option, value)}
    run = None if own is None else _folder_of(Path(own))
    for source in HydraConfig.get().runtime.config_sources:
        if source.provider == "command-line" or source.provider.startswith("hydra.searchpath"):
            names |= _targets_of_source(source.schema, source.path, run)
    return Trust(packages_of(command.get("trust")), frozenset(names))


def packages_of_process() -> tuple[str, ...]:
    """The packages of `trust=` on the command line that this process carries out; none in a notebook."""
    hydra = sys.modules.get("hydra.core.hydra_config")  # a notebook needs no Hydra
    if hydra is None or not hydra.HydraConfig.initialized():
        return ()
    from hydra.core.override_parser.overrides_parser import OverridesParser

    words = [word for word in hydra.HydraConfig.get().overrides.task if word.startswith("trust=")]
    return packages_of(OverridesParser.create().parse_overrides(words)[-1].value()) if words else ()


def _folder_of(run: Path) -> Path:
    """The folder of a run, or that of the run whose checkpoint this is, or that of a checkpoint elsewhere."""
    if not run.is_file():
        return run
    return run.parent.parent if run.parent.name == LAST_CHECKPOINT.parent.name else run.parent


def _targets_of_source(schema: str, path: str, without: Path | None) -> frozenset[str]:
    if schema == "pkg":
        package, _, folder = path.partition("/")
        with as_file(files(package.replace("/", ".")).joinpath(folder)) as place:
            return targets_in(place, without)
    return targets_in(Path(path), without) if schema == "file" else frozenset()


def check_targets(config: Mapping[str, Any], origin: str | Path, trust: Trust, unbuilt: Collection[str] = ()) -> None:
    """Checks every class that a stored config names, at any depth, before one of them is built.

    Args:
        config: plain values that `check_plain` has passed, under their present names.
        origin: file or folder that it comes from, for the message.
        trust: what is allowed besides our own.
        unbuilt: sections that the caller never builds.

    Raises:
        RefusedError: it names something else.
    """
    built = {section: node for section, node in config.items() if section not in unbuilt}
    for option, name in _targets(built, origin):
        if not trust.allows(name):
            raise RefusedError(f"{origin} is refused: its option {option} names {name}, {_reason(name)}")


def _targets(config: Mapping[str, Any], origin: str | Path) -> Iterator[tuple[str, str]]:
    for option, value in walk(config, origin):
        if _names(option, value):
            yield option, value


def _names(option: str, value: Any) -> bool:
    """Whether the value is the name of a class or function to call."""
    return option.rpartition(".")[2] == "_target_" and isinstance(value, str)


def _reason(name: str) -> str:
    package = name.partition(".")[0]
    if package in NEVER_A_REMEDY:
        return "which no run of ddpm-lightning needs"
    return f"which is not a class of ddpm-lightning's YAML files: if {package} is yours, say so with trust={package}"


def located(name: str, trust: Trust) -> Any:
    """The class or function of this name.

    Raises:
        ValueError: it is not allowed, or does not exist.
    """
    if not trust.allows(name):
        raise RefusedError(f"the config names {name}, {_reason(name)}")
    try:
        return imported(name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the config names {name}, which does not exist here ({error})") from error


def _is_optimizer(name: str) -> bool:
    if not name.startswith("torch.optim."):
        return False
    from torch.optim import Optimizer

    try:
        found = imported(name)
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and issubclass(found, Optimizer) and found.__module__.startswith("torch.optim.")


def _is_defined_in(name: str, package: str) -> bool:
    """Whether the name is of a class or function that this package defines, not one that it has imported."""
    if not name.startswith(f"{package}."):
        return False
    try:
        found = imported(name)
    except (ImportError, AttributeError):
        return True  # whoever builds it says that it does not exist
    home = getattr(found, "__module__", None)
    return callable(found) and isinstance(home, str) and (home == package or home.startswith(f"{package}."))
