"""Values as one types them on Hydra's command line."""

from collections.abc import Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException


def typed(value: Any) -> str:
    """A plain value in Hydra's grammar; it is not quoted for a shell."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(typed, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{typed(item)}' for key, item in value.items())}}}"
    if not isinstance(value, str) or _means_itself(value):
        return str(value)
    return QuotedString(value, Quote.double).with_quotes()


def _means_itself(value: str) -> bool:
    """Whether Hydra reads these characters as this string, without quotes."""
    try:
        return bool(OverridesParser.create().parse_override(f"key={value}").value() == value)
    except HydraException:  # of the parser, or of its lexer
        return False
