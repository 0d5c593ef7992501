"""The YAML files of the package, and the classes that YAML files name."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_TARGET = re.compile(r"""(?:^|[\s{,'"])_target_['"]?\s*:\s*['"]?(\w+(?:\.\w+)+)""")


def conf_folder() -> Path:
    """The folder of the YAML files: inside the installed package, or at the root of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


@cache
def own_targets() -> frozenset[str]:
    """The names that `_target_` has in our YAML files, except in Hydra's own group, which no stored config holds."""
    ours = conf_folder()
    return targets_in(ours, ours / "hydra")


def targets_in(folder: Path, without: Path | None = None) -> frozenset[str]:
    """The names that `_target_` has in the YAML files below a folder; read as text, which takes milliseconds."""
    return frozenset(name for file in _yaml_files(folder, without) for name in _targets_of(file))


def _yaml_files(folder: Path, without: Path | None) -> Iterator[Path]:
    for file in folder.rglob("*.yaml"):
        if without is None or not file.resolve().is_relative_to(without.resolve()):
            yield file


def _targets_of(file: Path) -> Iterator[str]:
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := _TARGET.search(line.partition("#")[0]):
            yield match.group(1)
