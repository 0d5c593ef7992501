"""Names of files in messages."""

import os
from collections.abc import Sequence


def printable(text: str) -> str:
    """One line of text: on Unix a file's name may have new lines, and bytes that are not text."""
    decoded = os.fsencode(text).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in decoded)


def named(names: Sequence[str], most: int = 3) -> str:
    """The first names, printable, and how many more there are."""
    more = len(names) - most
    return printable(", ".join(names[:most])) + (f" and {more} more" if more > 0 else "")
