"""Expansion of `~` to the home folder in every path option and environment variable.

A shell expands it only at the beginning of a word, so `paths.data_dir=~/data` arrives here as it was typed. No option
has another use for a value that begins like this, therefore the options' types do not matter.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import Container

VARIABLES = ("DDPM_DATA_DIR", "DDPM_CACHE_DIR")
"""Environment variables that hold a folder."""
_PATH = re.compile(r"~[\w.-]*(?=/|$)")
_IN_VALUE = re.compile(r"""(?:^|(?<=[=,\[]))(["']?)(~[\w.-]*)(?=[/,\]"']|$)""")
"""Where a path may begin in KEY=VALUE: after `=`, and as an element of a sweep or a list."""


def at_home(text: str) -> str:
    """The text, with the home folder for a `~` or `~user` that it begins with.

    Raises:
        ValueError: there is no such user.
    """
    if not _PATH.match(text):
        return text
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise ValueError(f"{text}: there is no user {path[1:].partition('/')[0]!r}: write the whole path")
    return path


def words_at_home(words: Sequence[str]) -> list[str]:
    """The words of a command line with the home folder for each `~` that a path or a value begins with.

    `~optimizer` and `~hydra/launcher` stay: without a value, Hydra's `~` removes an option.
    """
    return [_word_at_home(word) for word in words]


def _word_at_home(word: str) -> str:
    key, equals, value = word.partition("=")
    if not equals or word.startswith("~/"):
        return at_home(word) if re.match("~(/|$)", word) else word
    return key + equals + _IN_VALUE.sub(lambda found: found.group(1) + at_home(found.group(2)), value)


def use_environment_at_home() -> None:
    """Expands `~` in the environment variables of this process that hold a folder, and removes empty ones."""
    for variable in VARIABLES:
        if folder := os.environ.pop(variable, ""):
            os.environ[variable] = at_home(folder)


def expand_home(config: Container) -> None:
    """Expands `~`, in place, in each text of a config that begins with it, as in a YAML file of the user's own.

    Of Hydra's options, in the folders of a run and a sweep.

    Raises:
        ValueError: there is no such user.
    """
    from omegaconf import Container, DictConfig, Node, flag_override

    with flag_override(config, "readonly", False):
        for key in list(config) if isinstance(config, DictConfig) else range(len(config)):  # type: ignore[arg-type]
            node = config._get_node(key)
            if not isinstance(node, Node) or node._is_none() or node._is_interpolation() or node._is_missing():
                continue
            if key == "hydra":  # the rest of it quotes the command line
                for part in ("run", "sweep"):
                    if isinstance(node, DictConfig) and part in node:
                        expand_home(node[part])
            elif isinstance(node, Container):
                expand_home(node)
            elif isinstance(text := node._value(), str) and text.startswith("~"):
                config[key] = at_home(text)
