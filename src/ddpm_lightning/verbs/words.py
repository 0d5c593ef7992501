"""The command line of the verbs that need no Hydra: paths, and options written `key=value`."""

import difflib
import glob
import os
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from ddpm_lightning.runs.home_folder import words_at_home
from ddpm_lightning.verbs.program import print_page


class Words(NamedTuple):
    """A command line.

    Attributes:
        paths: words that are a path that exists, or a pattern of paths, in order.
        options: the value of each option that is given.
    """

    paths: tuple[str, ...]
    options: dict[str, str]


def read_words(words: Sequence[str], known: Sequence[str], usage: str) -> Words:
    """The words of a command line, of which a path that exists is one even if it looks like an option.

    With -h or --help prints the usage and exits with 0; without any word, with 2.

    Raises:
        ValueError: an argument is neither a path nor an option in `known`, or an option is empty or given twice.
    """
    if not words or {"-h", "--help"} & set(words):
        print_page(usage)
        sys.exit(0 if words else 2)
    paths: list[str] = []
    options: dict[str, str] = {}
    for word in words_at_home(words):
        key, equals, value = word.partition("=")
        if os.path.exists(word):
            paths.append(word)
        elif equals and key in known:
            if key in options:
                raise ValueError(f"{key}= is given twice, as {options[key]} and as {value}: leave out one")
            if not value:
                raise ValueError(f"{key}= needs a value")
            options[key] = value
        elif glob.has_magic(word) and not re.match(r"-|\w+=", word):
            paths.append(word)
        else:
            raise ValueError(_explanation(word, known))
    return Words(tuple(paths), options)


def _explanation(word: str, known: Sequence[str]) -> str:
    """What is wrong with a word that is neither a path nor an option, and what it may have been meant to be."""
    key, equals, value = word.lstrip("-").partition("=")
    if word.startswith("-"):
        problem = f"unknown argument {word!r}: options are written without dashes"
    elif equals:
        problem = f"unknown option {key!r}"
    else:
        problem = f"there is no file or folder {word!r}, nor an option of this name"
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    guess = f" Did you mean {close[0]}={value or '...'}?" if close else ""
    return f"{problem}; the options are {', '.join(f'{option}=' for option in known)}.{guess}"
