"""What a config out of a file may consist of: plain values, and references that lead to other options of it.

Checked before OmegaConf, Hydra or a class sees it, so that reading a file neither runs anything, nor reads the
environment, nor fills the memory.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MAX_DEPTH = 40
MAX_SIZE = 1_000_000
"""Characters and values of a config whose references are resolved; a whole run has less than a hundredth."""
KEYS_OF_HYDRA = ("_target_", "_partial_")
"""Keys that say how an object is made; those that Hydra has besides are in no YAML file of ours."""

REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")
"""A reference to another option, as in `${seeds.noise}`. Resolvers, as in `${oc.env:JOB}`, are none."""
_BEGIN = re.compile(r"\$(\{|\Z)")
"""What is, or becomes a part of, an interpolation: texts are put together, and a result may be resolved once more."""


class RefusedError(ValueError):
    """A file holds what no run of this project stores; the message says what, and the remedy."""


def check_plain(config: Any, origin: str | Path) -> None:
    """Checks that a stored config can be read and resolved without any effect.

    Args:
        config: what a file holds.
        origin: the file, for the message.

    Raises:
        RefusedError: it is not a mapping of plain values, is nested too deeply or too large, refers to anything but
            options (`${oc.env:HOME}`), or has a key that steers Hydra and that we never write (`_args_`).
    """
    if not isinstance(config, Mapping):
        raise RefusedError(f"{origin} does not hold the config of a run, but a {type(config).__name__}")
    size = 0
    for option, value in walk(config, origin):
        size += 1 + (len(value) if isinstance(value, str) else 0)
        if size > MAX_SIZE:
            raise RefusedError(f"{origin} is refused: its config is too large to be the config of a run")
        _check_key(option, value, origin)
        if isinstance(value, str) and "$" in value:
            _check_references(option, value, origin)
    _Expansion(config, origin).check()


def walk(node: Any, origin: str | Path, option: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every key and value below a node, each with its option's path; sections before what is in them.

    Raises:
        RefusedError: it is nested too deeply, or has a value that YAML has no form for.
    """
    if depth > MAX_DEPTH:
        raise RefusedError(f"{origin} is refused: its config is nested too deeply to be the config of a run")
    if isinstance(node, Mapping):
        children = [(f"{option}.{key}" if option else str(key), value) for key, value in node.items()]
    else:
        children = [(option, value) for value in node]
    for path, value in children:
        yield path, value
        if isinstance(value, Mapping | list | tuple):
            yield from walk(value, origin, path, depth + 1)
        elif not isinstance(value, str | int | float | None):
            raise RefusedError(f"{origin} is refused: its option {path} is a {type(value).__name__}, not a plain value")


def _check_key(option: str, value: Any, origin: str | Path) -> None:
    key = option.rpartition(".")[2]
    if key[:1] == "_" and key not in KEYS_OF_HYDRA:
        raise RefusedError(
            f"{origin} is refused: its option {option} would steer how Hydra makes an object, which no run stores. "
            "Remove it if the file is yours"
        )
    wanted = {"_target_": (str, type(None)), "_partial_": (bool,)}.get(key)
    if wanted and (not isinstance(value, wanted) or (isinstance(value, str) and "$" in value)):
        raise RefusedError(f"{origin} is refused: its option {option} must be written out, not {value!r}")


def _check_references(option: str, value: str, origin: str | Path) -> None:
    if _BEGIN.search(REFERENCE.sub("{", value)):
        raise RefusedError(
            f"{origin} is refused: its option {option} is {value[:80]!r}, and a file may refer to its own options "
            "only, as in ${seed}. If the file is yours, put the value in its place"
        )


class _Expansion:
    """The size of a config once its references are resolved, found without resolving them."""

    def __init__(self, config: Mapping[str, Any], origin: str | Path) -> None:
        self._config, self._origin = config, origin
        self._sizes: dict[str, int] = {}
        self._entered: set[str] = set()

    def check(self) -> None:
        """Raises RefusedError for references in a circle, and for few that stand for much."""
        if self._size(self._config) > MAX_SIZE:
            raise RefusedError(f"{self._origin} is refused: its references multiply to more than a config of a run")

    def _size(self, node: Any) -> int:
        if isinstance(node, Mapping):
            return 1 + sum(map(self._size, node.values()))
        if isinstance(node, list | tuple):
            return 1 + sum(map(self._size, node))
        if isinstance(node, str):
            return len(node) + sum(map(self._size_of_option, REFERENCE.findall(node)))
        return 1

    def _size_of_option(self, option: str) -> int:
        if option in self._entered:
            raise RefusedError(f"{self._origin} is refused: its option {option} refers to itself")
        if option not in self._sizes:
            self._entered.add(option)
            self._sizes[option] = self._size(_value_of(self._config, option))
            self._entered.remove(option)
        return self._sizes[option]


def _value_of(config: Mapping[str, Any], option: str) -> Any:
    """The value of an option; None where there is none, which OmegaConf reports when it is asked for."""
    node: Any = config
    for key in option.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node
