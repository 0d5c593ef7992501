"""A plain value fits an annotation, or means one that does."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Protocol, Tuple, TypeVar, Union  # noqa: UP035

import pytest

from ddpm_lightning.runs.value_types import MisfitError, Where, described, fitted, takes_text


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Part:
    pass


class Shape(Protocol):
    sides: int


PART = {"_target_": "somewhere.Part"}
EVEN = Annotated[int, Where(lambda number: number % 2 == 0, "an even number")]
ANY = TypeVar("ANY")


@pytest.mark.parametrize(
    ("value", "annotation", "meant"),
    [
        (3, int, 3),
        (100.0, int, 100),
        ("100", int, 100),
        ("1e2", int, 100),
        ("1234567890123456789", int, 1234567890123456789),
        (3, float, 3),
        ("1e-4", float, 1e-4),
        (0.5, int | float, 0.5),
        (1.0, int | float, 1.0),
        ("fast", int | str, "fast"),
        (True, bool, True),
        (0, bool, False),
        ("true", bool, True),
        (None, Optional[int], None),  # noqa: UP045
        (2.0, Union[int, None], 2),  # noqa: UP007
        (7, str, "7"),
        (7, Path, "7"),
        ("photos", str | Path, "photos"),
        ("red", Colour, "red"),
        (16, Literal["auto", 16], 16),
        ([64, 1e2], Sequence[int], [64, 100]),
        ([0.9, 1], tuple[float, float], [0.9, 1]),
        ([1, 2, 3], tuple[int, ...], [1, 2, 3]),
        ([1, "a"], list, [1, "a"]),
        ([1, "a"], Tuple, [1, "a"]),  # noqa: UP006
        ({"a": 1}, Mapping[str, int], {"a": 1}),
        (4.0, EVEN, 4),
        (PART, int, PART),
        ([PART], list[Part], [PART]),
        (PART, Callable[[int], int], PART),
        ("silu", Part, "silu"),
        (5, Shape, 5),
        ("anything", Any, "anything"),
        ("anything", ANY, "anything"),
    ],
    ids=str,
)
def test_a_value_that_fits(value: Any, annotation: Any, meant: Any) -> None:
    result = fitted(value, annotation)
    assert result == meant and repr(result) == repr(meant)


@pytest.mark.parametrize(
    ("value", "annotation", "possible"),
    [
        ("fast", int, "a whole number"),
        (1.5, int, "a whole number"),
        (True, int, "a whole number"),
        (float("inf"), int, "a whole number"),
        (None, int, "a whole number"),
        (True, float, "a number"),
        ("", float | None, "a number or null"),
        (2, bool, "true or false"),
        ("maybe", bool, "true or false"),
        ([1], str, "text"),
        (None, Path, "a path"),
        ("green", Colour, "red or blue"),
        ("16", Literal["auto", 16], "auto or 16"),
        (True, Literal["auto", 1], "auto or 1"),
        (64, Sequence[int], "a list of whole numbers such as [1,2]"),
        ("64", Sequence[str], "a list of words such as [a,b]"),
        ([64, "x"], Sequence[int], "a list of whole numbers such as [1,2]"),
        ([0.9], tuple[float, float], "a list of 2 numbers such as [0.5,1]"),
        ([0.9, None], tuple[float, float], "a list of 2 numbers such as [0.5,1]"),
        (3, EVEN, "an even number"),
        ("x", EVEN | None, "an even number or null"),
        (5, Part, "a section with _target_ (Part)"),
        (None, Part, "a section with _target_ (Part)"),
        (5, Mapping[str, int], "a section of options"),
        ("x", int | float | Sequence[int] | None, "a number, a list of whole numbers such as [1,2] or null"),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit(value: Any, annotation: Any, possible: str) -> None:
    with pytest.raises(MisfitError):
        fitted(value, annotation)
    assert described(annotation) == possible


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [(str, True), (str | None, True), (str | Mapping[str, int], True), (str | float, False), (int, False)],
    ids=str,
)
def test_only_some_options_are_text_in_any_case(annotation: Any, expected: bool) -> None:
    assert takes_text(annotation) is expected
