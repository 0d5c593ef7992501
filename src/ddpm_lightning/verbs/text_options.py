"""Options whose value is the very word that is typed: Hydra reads name=2024_01_15 as the number 20240115."""

import re
from collections.abc import Sequence

from hydra.core.override_parser.types import Quote, QuotedString

from ddpm_lightning.runs.option_schema import TEXT_OPTIONS
from ddpm_lightning.verbs.grammar import INVISIBLE, TYPOGRAPHIC_QUOTES, read_override

FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
"""Text options of Hydra's."""
_PATH = re.compile(r"\.{0,2}/")
_SLIPS = re.compile(f"""[{TYPOGRAPHIC_QUOTES}{INVISIBLE}]|^["']|["']$|^[\\[{{(][^\\])}}]*$""")
"""Signs of a slip, not of a name: quotation marks of a word processor, a quote or bracket not closed, a line's end."""


def quote_text_options(words: Sequence[str]) -> list[str]:
    """The command line's words, with quotes where Hydra would misread the text of an option, or refuse it.

    It refuses spaces beside brackets, `=`, umlauts and whatever else it has not foreseen. Text is also a value of any
    option that begins like a path. A sweep over several values, null, and words that Hydra reads as text are left as
    they are; so are slips, which only look like text.
    """
    return [_quoted(word) for word in words]


def _quoted(word: str) -> str:
    key, _, text = word.partition("=")
    if not text or key.startswith("-") or not (key.lstrip("+") in (*TEXT_OPTIONS, *FOLDERS) or _PATH.match(text)):
        return word
    if is_read_as_text(word) or _SLIPS.search(text) or "," in text:
        return word
    return f"{key}={QuotedString(text, Quote.single).with_quotes()}"


def is_read_as_text(word: str) -> bool:
    """Whether Hydra neither refuses an option's value nor takes it for a number or a truth value."""
    override = read_override(word)
    return override is not None and not isinstance(override.value(), bool | int | float)
