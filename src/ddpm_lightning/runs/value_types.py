"""Whether a plain value of a config fits a type annotation, and the value that it means then.

Annotations of a constructor are written for Python, configs are YAML: 1e2 is a float there, a path is text, a tuple is
a list, and an object is a section with `_target_`. Conversions lose nothing, so that 1e2 is 100, but 1.5 is not 1.

A library such as pydantic would need adapters for sections with `_target_` and for our messages, and nothing else here
needs one.
"""

import collections.abc
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin

LISTS = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
LARGEST = 2**63 - 1
"""The largest whole number that tensors hold."""
NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", None: "null"}
"""Plain type -> its description in a message."""


class MisfitError(ValueError):
    """Raised for a value that does not fit an annotation."""


@dataclass(frozen=True)
class Where:
    """A range, for `Annotated[int, Where(...)]`.

    Attributes:
        holds: whether a value of the annotated type is in it.
        description: the value that it must be, as in "a whole number of at least 1".
    """

    holds: Callable[[Any], bool] = field(repr=False)
    description: str


def fitted(value: Any, annotation: Any, objects: bool = True) -> Any:
    """The value, or what it means as one of the annotation's types: 100 for 1e2, a number for its text.

    A section with `_target_` fits everything, since only its own class knows what it gives; with `objects=False` it
    does not, because nothing instantiates the option. An annotation of any other class than the plain ones is met by
    text, lists and sections, which a constructor may convert.

    Raises:
        MisfitError: the value is not possible.
    """
    if _fits_as_is(value, annotation, objects):
        return value
    for kind in _alternatives(annotation):
        try:
            return _converted(value, kind)
        except MisfitError:
            continue
    raise MisfitError


def described(annotation: Any) -> str:
    """The possible values in words, as in "a whole number, a list of whole numbers or auto"."""
    words: list[str] = []
    for kind in _alternatives(annotation):
        words += _descriptions(kind)
    if NAMES[float] in words and NAMES[int] in words:
        words.remove(NAMES[int])
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def is_object(value: Any) -> bool:
    """Whether a value is a section that describes an object."""
    return isinstance(value, Mapping) and "_target_" in value


def takes_text(annotation: Any) -> bool:
    """Whether text is meant wherever a number could be: the types are text, and perhaps null or a section."""
    kinds = [get_args(kind)[0] if _origin(kind) is Annotated else kind for kind in _alternatives(annotation)]
    return str in kinds and all(kind in (str, None) or _origin(kind) in MAPPINGS for kind in kinds)


def _alternatives(annotation: Any) -> list[Any]:
    """The members of a union, flat; None for NoneType."""
    if isinstance(annotation, NewType):
        return _alternatives(annotation.__supertype__)
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for member in get_args(annotation) for kind in _alternatives(member)]
    return [None if annotation is type(None) else annotation]


def _origin(kind: Any) -> Any:
    return get_origin(kind) or kind


def _is(value: Any, kind: Any) -> bool:
    """Whether the value is of this type as it stands."""
    origin, parameters = _origin(kind), get_args(kind)
    if kind is Any or isinstance(kind, TypeVar):
        return True
    if origin is Annotated:
        return any(_is(value, inner) for inner in _alternatives(parameters[0])) and _in_range(value, parameters[1:])
    if origin is Literal:
        return any(type(choice) is type(value) and choice == value for choice in parameters)
    if kind is None:
        return value is None
    if kind is int:
        return type(value) is int and -LARGEST <= value <= LARGEST
    if kind is float:
        return type(value) in (int, float)
    if kind in NAMES:
        return type(value) is kind
    if origin in LISTS:
        return _is_list_for(value, kind) and all(_fits_as_is(*pair) for pair in _elements(value, kind))
    if origin in MAPPINGS:
        return isinstance(value, Mapping)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return value in [member.value for member in kind]
    if isinstance(kind, type) and issubclass(kind, PurePath):
        return isinstance(value, str)
    return _may_become(value, origin)


def _converted(value: Any, kind: Any) -> Any:
    """The value that is meant where another type is written."""
    origin, parameters = _origin(kind), get_args(kind)
    if origin is Annotated:
        converted = fitted(value, parameters[0])
        if _in_range(converted, parameters[1:]):
            return converted
    elif kind in (int, float) and not isinstance(value, bool):
        number = _number(value)
        if kind is float:
            return number
        if math.isfinite(number) and number % 1 == 0 and abs(number) <= LARGEST:
            return int(number)
    elif kind is bool and str(value).lower() in ("true", "false", "1", "0"):
        return str(value).lower() in ("true", "1")
    elif (kind is str or _is_path(kind)) and isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    elif origin in LISTS and _is_list_for(value, kind):
        return [fitted(*pair) for pair in _elements(value, kind)]
    raise MisfitError


def _number(value: Any) -> int | float:
    """The number that is given, perhaps as text."""
    if isinstance(value, int | float):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except (TypeError, ValueError):
            continue
    raise MisfitError


def _is_path(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, PurePath)


def _in_range(value: Any, metadata: Sequence[Any]) -> bool:
    return all(condition.holds(value) for condition in metadata if isinstance(condition, Where))


def _fits_as_is(value: Any, annotation: Any, objects: bool = True) -> bool:
    return (objects and is_object(value)) or any(_is(value, kind) for kind in _alternatives(annotation))


def _is_list_for(value: Any, kind: Any) -> bool:
    """Whether the value is a list, of the right length for a tuple."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return False
    return not _has_length(kind) or len(value) == len(get_args(kind))


def _has_length(kind: Any) -> bool:
    return get_origin(kind) is tuple and bool(get_args(kind)) and get_args(kind)[-1] is not Ellipsis


def _elements(value: Sequence[Any], kind: Any) -> list[tuple[Any, Any]]:
    """Each element of a list with its annotation."""
    parameters = get_args(kind) or (Any,)
    kinds = parameters if _has_length(kind) else parameters[:1] * len(value)
    return list(zip(value, kinds, strict=True))


def _may_become(value: Any, origin: Any) -> bool:
    """Whether a constructor that is annotated with a class of its own may be given this plain value."""
    if isinstance(value, str | Sequence | Mapping):
        return True
    try:
        return isinstance(value, origin)
    except TypeError:  # not a class, as a protocol
        return True


def _descriptions(kind: Any) -> list[str]:
    origin, parameters = _origin(kind), get_args(kind)
    if origin is Annotated:
        ranges = [condition.description for condition in parameters[1:] if isinstance(condition, Where)]
        return [" and ".join(ranges)] if ranges else [described(parameters[0])]
    if origin is Literal:
        return list(dict.fromkeys(map(str, parameters)))
    if kind in NAMES:
        return [NAMES[kind]]
    if origin in LISTS:
        return [_list_description(kind)]
    if origin in MAPPINGS:
        return ["a section of options"]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(member.value) for member in kind]
    if _is_path(kind):
        return ["a path"]
    return [f"a section with _target_ ({getattr(origin, '__name__', origin)})"]


def _list_description(kind: Any) -> str:
    examples = {int: "whole numbers such as [1,2]", float: "numbers such as [0.5,1]", str: "words such as [a,b]"}
    count = f"{len(get_args(kind))} " if _has_length(kind) else ""
    return f"a list of {count}{examples.get((get_args(kind) or (Any,))[0], 'values')}"
