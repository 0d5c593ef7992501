"""The text of a verb's `--help`."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

from ddpm_lightning.verbs.composition import Composition
from ddpm_lightning.verbs.help.contents import Group, HelpContents, Section, help_contents

MIN_WIDTH = 80
MARGIN = "  "
HYDRA_FLAGS = (
    ("-m", "run a sweep: all combinations of options with several values, as in seed=0,1"),
    ("--cfg job", "print the config instead of running"),
    ("--config-dir DIR", "add a folder of your own YAML files, arranged as those of conf/"),
    ("--hydra-help", "print Hydra's own help, with its other flags"),
)
COMPLETION = 'TAB completes groups, choices and options in bash after: eval "$({call} -sc install=bash)"'


def help_text(conf: Path, config_name: str, words: Sequence[str], call: str) -> str:
    """The help of a verb, wrapped to the width of the terminal, which is taken to be at least `MIN_WIDTH`.

    Args:
        conf: folder of the YAML files.
        config_name: the verb's file there: "train", "evaluate" or "sample".
        words: the words of the command line, as Hydra reads them. Options are those of the choices made there.
        call: what a user types to call the verb: "python train.py" or "ddpm-train".

    Raises:
        HydraException: a word names no choice or option.
    """
    width = max(shutil.get_terminal_size().columns, MIN_WIDTH)
    return "\n".join(_lines(help_contents(Composition(conf, config_name, words)), call, width))


def _lines(contents: HelpContents, call: str, width: int) -> Iterable[str]:
    yield from _about(Template(contents.about).substitute(call=call), width)
    yield from ("", "Groups: GROUP=CHOICE selects one; * is the current choice.")
    for group in contents.groups:
        yield from _group(group, width)
    yield from ("", "Options: OPTION=VALUE changes one.")
    for section in contents.sections:
        yield from _section(section, width)
    yield from ("", "Flags of Hydra:")
    for flag, line in HYDRA_FLAGS:
        yield from _row(flag, line, width, column=20)
    yield from textwrap.wrap(COMPLETION.format(call=call), width, initial_indent=MARGIN, subsequent_indent=MARGIN)


def _about(text: str, width: int) -> Iterable[str]:
    """Paragraphs, which are wrapped, and indented examples, whose explanations are aligned."""
    examples = [re.split(" {2,}", line.strip()) for line in text.splitlines() if line.startswith(" ")]
    column = _column((command for command, *_ in examples), width * 3 // 4)
    for line in text.rstrip().splitlines():
        if line.startswith(" "):
            command, *explanation = re.split(" {2,}", line.strip())
            yield from _row(command, " ".join(explanation), width, column)
        else:
            yield from textwrap.wrap(line, width) or [""]


def _group(group: Group, width: int) -> Iterable[str]:
    choices = ", ".join(f"{choice}*" if choice in group.current else choice for choice in group.choices)
    yield from _row(group.name, group.line, width, column=20)
    yield from textwrap.wrap(choices, width, initial_indent=" " * 22, subsequent_indent=" " * 22)


def _section(section: Section, width: int) -> Iterable[str]:
    yield ""
    if section.name:
        title = f"{section.name}: {section.choice}" if section.choice else section.name
        yield from textwrap.wrap(f"{title} - {section.line}" if section.line else title, width)
    column = _column((option.word for option in section.options), width // 2)
    for option in section.options:
        line = f"(required) {option.line}" if option.value == "???" else option.line
        yield from _row(option.word, line, width, column)


def _column(words: Iterable[str], limit: int) -> int:
    """The column to the right of all words but those that reach beyond `limit`."""
    ends = (len(MARGIN + word) + 2 for word in words)
    return max((end for end in ends if end <= limit), default=limit // 2)


def _row(word: str, line: str, width: int, column: int) -> Iterable[str]:
    """A word, and from a column on its line; below the word where that is too long."""
    wrapped = textwrap.wrap(line, width - column, break_on_hyphens=False, break_long_words=False)
    if len(MARGIN + word) + 2 > column or not wrapped:
        yield MARGIN + word
    else:
        yield (MARGIN + word).ljust(column) + wrapped.pop(0)
    yield from (" " * column + part for part in wrapped)
