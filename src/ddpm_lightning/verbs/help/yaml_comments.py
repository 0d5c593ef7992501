"""Comments of a Hydra YAML file, by what they describe."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

import yaml  # type: ignore[import-untyped]
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode  # type: ignore[import-untyped]

PACKAGE_HEADER = re.compile(r"#\s*@package\b")


@dataclass(frozen=True)
class YamlComments:
    """The comments of one file; each is a line, whose line breaks in the file are spaces here.

    A comment stands on the lines right above what it describes, indented like it, or on the same line after the value,
    which wins where there are both.

    Attributes:
        choice: the first comment of the file, which describes the file as a choice of its group; "" if there is none.
        options: an option's path within the file ("source.channels") -> its comment.
        groups: a group in the defaults list ("dataset/split") -> the comment on its entry. Overrides have none.
    """

    choice: str
    options: dict[str, str]
    groups: dict[str, str]


@cache
def read_comments(text: str, group: str) -> YamlComments:
    """The comments of a YAML file's text. `group` is the file's folder below `conf`, "" for a verb's own file."""
    lines = text.splitlines()
    root = yaml.compose(text)
    options: dict[str, str] = {}
    groups: dict[str, str] = {}
    if isinstance(root, MappingNode):
        for key, value in root.value:
            if key.value == "defaults":
                groups = _of_groups(lines, value, group)
        _add_options(lines, root, "", options)
    return YamlComments(_first(lines), options, groups)


def _add_options(lines: list[str], mapping: MappingNode, parent: str, found: dict[str, str]) -> None:
    """Adds the comments of a mapping's keys, and of those below, to `found`."""
    for key, value in mapping.value:
        path = f"{parent}{key.value}"
        comment = _comment(lines, key, value, key.start_mark.column)
        if comment and path != "defaults":
            found[path] = comment
        if isinstance(value, MappingNode):
            _add_options(lines, value, f"{path}.", found)


def _of_groups(lines: list[str], defaults: Node, group: str) -> dict[str, str]:
    """The comments on the entries `group: choice` of a defaults list."""
    found = {}
    for entry in defaults.value if isinstance(defaults, SequenceNode) else ():
        if isinstance(entry, MappingNode):
            key, value = entry.value[0]
            name = key.value.partition("@")[0]
            comment = _comment(lines, key, value, defaults.start_mark.column)
            if comment and not name.startswith("override "):
                found[str(PurePosixPath("/", group, name)).lstrip("/")] = comment
    return found


def _comment(lines: list[str], key: ScalarNode, value: Node, column: int) -> str:
    """The comment after the value on its line (for a section: after its key), or else the one above the key."""
    is_block = not isinstance(value, ScalarNode) and not value.flow_style
    end = (key if is_block else value).end_mark
    after = re.match(r":?\s*#\s*(.+)", lines[end.line][end.column :]) if end.line < len(lines) else None
    return after.group(1).strip() if after else _above(lines, key.start_mark.line, column)


def _above(lines: list[str], line: int, column: int) -> str:
    """The comment that ends right above a line and begins at this column."""
    start = line
    while start and lines[start - 1].startswith(" " * column + "#") and not PACKAGE_HEADER.match(lines[start - 1]):
        start -= 1
    return _joined(lines[start:line])


def _first(lines: list[str]) -> str:
    """The comment with which a file begins, but for the header that names its package."""
    start = 1 if lines and PACKAGE_HEADER.match(lines[0]) else 0
    end = start
    while end < len(lines) and lines[end].startswith("#"):
        end += 1
    return _joined(lines[start:end])


def _joined(comment: list[str]) -> str:
    return " ".join(line.strip().lstrip("#").strip() for line in comment)
