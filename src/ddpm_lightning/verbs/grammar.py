"""Words of a command line that Hydra cannot read, each with a sentence that says how to type it."""

import re
import shlex
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

_KEY = re.compile(r"(~|\+{0,2})\w[\w$-]*([./@][\w$-]+)*")
TYPOGRAPHIC_QUOTES = "\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb"
INVISIBLE = "\u200b\ufeff\r"
"""Characters without width, which a web page or the line ends of another system put into a command."""
_HYPHENS = "\u2010\u2011\u2012\u2013\u2014\u2212"
_LOOK_ALIKES = str.maketrans({**dict.fromkeys(TYPOGRAPHIC_QUOTES + INVISIBLE), **dict.fromkeys(_HYPHENS, "-")})
_OPEN, _CLOSE = "([{", ")]}"


def read_overrides(words: Sequence[str]) -> list[Override]:
    """The options of a command line, without its flags.

    Raises:
        ValueError: Hydra cannot read one of them; the message says how to type it.
    """
    return [_read(word, follower) for word, follower in zip_longest(words, words[1:], fillvalue="")]


def misplaced(word: str, before: Sequence[str], after: Sequence[str]) -> str:
    """What is wrong with a word that is neither a flag nor KEY=VALUE, between the words `before` and `after`."""
    if after and after[0].startswith("=") and _KEY.fullmatch(word):
        value = after[0][1:] or "".join(after[1:2]) or "VALUE"
        return f"{word} {after[0]}: write an option without spaces, as in {word}={value}"
    option = before[-1] if before else ""
    if "=" in option and (option[-1] in "=,:" or _is_open(option)):
        joined = option + word
        return f"{option} {word}: write an option without spaces, as in {shlex.quote(joined + _closing(joined))}"
    name, dot, choice = word.replace("/", ".").rpartition(".")
    guess = f" (perhaps {name.replace('.', '/')}={choice})" if dot and _KEY.fullmatch(word) else ""
    if not dot and _KEY.fullmatch(word):
        guess = f" (perhaps {word}=VALUE)"
    return f"{word!r} is neither a path of a run nor an option, as in KEY=VALUE{guess}"


def check_flags(words: Sequence[str]) -> None:
    """Raises ValueError for an option that is written as a flag, as in `--seed 1`."""
    known = get_args_parser()._option_string_actions
    for word, follower in zip_longest(words, words[1:], fillvalue=""):
        flag, equals, value = word.partition("=")
        if not re.match(r"--?[^\W\d]", word) or flag in known:
            continue
        if not equals:
            value = follower if follower and "=" not in follower and not follower.startswith("-") else "VALUE"
        raise ValueError(
            f"{flag} is not a flag (--help lists them): write an option as {flag.lstrip('-').replace('-', '_')}={value}"
        )


def read_override(word: str) -> Override | None:
    """The option that a word sets; None if Hydra cannot read it."""
    try:
        (override,) = OverridesParser.create().parse_overrides([word])
    except HydraException:
        return None
    return override


def _read(word: str, follower: str) -> Override:
    if (override := read_override(word)) is None:
        raise ValueError(_explanation(word, follower))
    if not _KEY.fullmatch(key := word.partition("=")[0]):
        raise ValueError(_unknown_form(key))
    return override


def _unknown_form(key: str) -> str:
    return f"{key!r} cannot be the name of an option: names look like optimizer.lr, and are followed by `=` at once"


def _explanation(word: str, follower: str) -> str:
    plain = unicodedata.normalize("NFKC", word.translate(_LOOK_ALIKES)).strip().rstrip(";,")
    key, _, value = plain.partition("=")
    if plain != word and read_override(plain):
        return f"{word!r} has a character too many, or one that only looks right: type {shlex.quote(plain)}"
    if key != key.rstrip() and read_override(tight := f"{key.rstrip()}={value.lstrip()}"):
        return f"{word!r}: write an option without spaces, as in {shlex.quote(tight)}"
    if not _KEY.fullmatch(key):
        return _unknown_form(key)
    if value.startswith("="):
        return f"{word!r} has one `=` too many: type {key}{value}"
    if re.search(r"\s\+{0,2}\w[\w./]*=", value):
        return f"{word!r} holds several options: separate them by a space, and quote each one on its own"
    if _is_open(value):
        if "=" not in follower and follower:
            return misplaced(follower, [word], [])
        if _closing(value):
            return f"{word!r} opens a bracket that is not closed: a list is written {shlex.quote(f'{key}=[1,2]')}"
        bare = value.strip("\"'")
        return f"{word!r} has a quote that is not closed: type {shlex.quote(f'{key}={bare}')}"
    listed = f"{key}=[{value[1:-1]}]"
    if value[:1] + value[-1:] in ("()", "{}") and read_override(listed):
        return f"{word!r} is not a value that Hydra can read: a list is written {shlex.quote(listed)}"
    parts = value.split(",")
    quoted = f"{key}={','.join(QuotedString(part, Quote.double).with_quotes() for part in parts)}"
    return (
        f"{word!r} has characters that mean something else to Hydra: if the value is text, quote it twice, for the "
        f"shell and for Hydra: {shlex.quote(quoted)}"
    )


def _is_open(text: str) -> bool:
    """Whether a bracket or a quote is opened and not closed."""
    return bool(_closing(text)) or any(text.count(quote) % 2 for quote in "\"'")


def _closing(text: str) -> str:
    """The brackets that are missing at the end."""
    missing: list[str] = []
    for character in text:
        if character in _OPEN:
            missing.append(_CLOSE[_OPEN.index(character)])
        elif missing and character == missing[-1]:
            missing.pop()
    return "".join(reversed(missing))
