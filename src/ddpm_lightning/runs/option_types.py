"""The check of every option's type, before anything is built from a config.

A section with `_target_` has the types that the constructor of its class annotates; so has a class of the user's own.
Parameters without annotations take anything. The other options have those of `option_schema`.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple, get_type_hints

from omegaconf import DictConfig, Node, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from ddpm_lightning.runs.dotted_name import imported
from ddpm_lightning.runs.home_folder import expand_home
from ddpm_lightning.runs.option_schema import SCHEMA, SECTION_CLASSES
from ddpm_lightning.runs.stored_values import REFERENCE
from ddpm_lightning.runs.value_types import MisfitError, described, fitted

LONGEST_SHOWN = 60
"""Characters of a value in a message."""


class Parameter(NamedTuple):
    """An option as it is declared.

    Attributes:
        annotation: its type.
        default: which is possible whatever the annotation; `inspect.Parameter.empty` for none.
    """

    annotation: Any
    default: Any = inspect.Parameter.empty


def with_right_types(config: DictConfig, root: str = "") -> DictConfig:
    """A copy of a composed or stored config in which every value has the type of its option: 100 where 1e2 is written.

    A text that begins with `~` is a path in the home folder. With a `root`, options of that section alone are checked;
    else all but Hydra's.

    An option without a value, and one that refers to what is not there, is left to whoever needs it. So is null in the
    command line of a verb with a `checkpoint`, where it stands for the checkpoint's value.

    Raises:
        ValueError: a value is not possible; names the option, or the one that it refers to.
    """
    result = config.copy()
    expand_home(result)
    has_checkpoint = "checkpoint" in result or OmegaConf.is_missing(result, "checkpoint")
    for option, parameter in _declared_options(result, root):
        try:
            value = OmegaConf.select(result, option, throw_on_missing=True)
            if OmegaConf.is_config(value):
                value = OmegaConf.to_container(value, resolve=True)
        except OmegaConfBaseException:
            continue
        if (value is None and has_checkpoint) or _is_default(value, parameter.default):
            continue
        named = _referred(result, option)
        try:
            right = fitted(value, parameter.annotation, objects=option not in SCHEMA)
        except MisfitError:
            raise ValueError(_message(named, value, parameter.annotation)) from None
        if right is not value:
            with open_dict(result):
                OmegaConf.update(result, named, right, merge=False)
    return result


def _declared_options(config: DictConfig, root: str) -> Iterator[tuple[str, Parameter]]:
    """Each option of a config that has a declared type, by its path."""
    for path, section in _sections(config[root], root) if root else _sections(config):
        of_class = parameters_of(str(section.get("_target_") or SECTION_CLASSES.get(path, "")))
        for key in map(str, section):
            option = f"{path}.{key}" if path else key
            if option in SCHEMA:
                yield option, Parameter(SCHEMA[option])
            elif key in of_class:
                yield option, of_class[key]


def _sections(config: DictConfig, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """The config and every section in it, but Hydra's own and those that are references, by their paths."""
    yield path, config
    for key in config:
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_interpolation() and not node._is_none():
            option = f"{path}.{key!s}" if path else str(key)
            if option != "hydra":
                yield from _sections(node, option)


def _referred(config: DictConfig, option: str) -> str:
    """The option that holds the value: the one that a reference refers to, however many lead there."""
    parent, _, key = option.rpartition(".")
    section = OmegaConf.select(config, parent) if parent else config
    node = section._get_node(key) if isinstance(section, DictConfig) else None
    written = node._value() if isinstance(node, Node) else None
    reference = REFERENCE.fullmatch(written) if isinstance(written, str) else None
    return _referred(config, reference.group(1)) if reference else option


def _is_default(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _message(option: str, value: Any, annotation: Any) -> str:
    message = f"{option} must be {described(annotation)}, not {_shown(value)}"
    if isinstance(value, list) and len(value) > 1 and "list" not in described(annotation):
        message += f" (a sweep over several values is written -m {option}={','.join(map(_shown, value))})"
    return message


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, Mapping):
        return "a section"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


@cache
def parameters_of(target: str) -> dict[str, Parameter]:
    """The annotated parameters of a class or function; none of one that cannot be imported, which is no type error."""
    try:
        made = imported(target)
    except Exception:  # whatever a module of the user's own does; building says what
        return {}
    if not callable(made):
        return {}
    annotations = _annotations_of(made)
    try:
        parameters = inspect.signature(made).parameters
    except (TypeError, ValueError):  # not written in Python
        return {}
    return {
        name: Parameter(annotations[name], parameter.default)
        for name, parameter in parameters.items()
        if name in annotations and parameter.kind is not parameter.VAR_KEYWORD
    }


def _annotations_of(made: Any) -> dict[str, Any]:
    """The annotations of a constructor's or function's parameters that mean something at run time."""
    if not isinstance(made, type):
        function = inspect.unwrap(made)
        return _evaluated(getattr(function, "__annotations__", {}), getattr(function, "__globals__", {}))
    owner = next(base for base in made.__mro__ if "__init__" in vars(base))
    if "__dataclass_params__" not in vars(owner) or not vars(owner)["__dataclass_params__"].init:
        return _annotations_of(vars(owner)["__init__"])
    annotations: dict[str, Any] = {}
    for base in reversed(owner.__mro__):  # a dataclass has the fields of all its bases, each with its own module
        module = sys.modules.get(base.__module__)
        annotations |= _evaluated(inspect.get_annotations(base), vars(module) if module else {})
    return annotations


def _evaluated(annotations: Mapping[str, Any], namespace: dict[str, Any]) -> dict[str, Any]:
    """The annotations, without those that name something that is imported for type checkers only."""
    result: dict[str, Any] = {}
    for name, annotation in annotations.items():
        try:
            result |= get_type_hints(
                SimpleNamespace(__annotations__={name: annotation}), namespace, include_extras=True
            )
        except Exception:  # an annotation may be any expression
            continue
    return result
