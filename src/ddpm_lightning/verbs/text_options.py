"""Options whose value is the very word that is typed: Hydra reads name=2024_01_15 as the number 20240115."""

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from ddpm_lightning.runs.option_schema import TEXT_OPTIONS


def quote_text_options(words: Sequence[str]) -> list[str]:
    """The command line's words, with quotes where Hydra would read the text of an option as a number or a truth value.

    A sweep over several values, null, and words that Hydra reads as text or refuses are left as they are.
    """
    return [_quoted(word) for word in words]


def _quoted(word: str) -> str:
    key, _, text = word.partition("=")
    if key.lstrip("+") not in TEXT_OPTIONS or not text:
        return word
    try:
        (override,) = OverridesParser.create().parse_overrides([word])
    except HydraException:
        return word
    if not isinstance(override.value(), bool | int | float):
        return word
    return f"{key}={QuotedString(text, Quote.single).with_quotes()}"
