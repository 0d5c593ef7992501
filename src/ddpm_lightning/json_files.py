"""JSON files that may be damaged: cut off, empty, or written by another program."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any


def read_json(file: Path, keys: Collection[str], remedy: str) -> dict[str, Any]:
    """The content of a JSON file that holds a dictionary.

    Args:
        file: the file.
        keys: keys that it must have.
        remedy: advice for a damaged file, which ends the message.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or lacks a key.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged ({error}): {remedy}") from error
    if not isinstance(content, dict) or (missing := [key for key in keys if key not in content]):
        lacks = f"it has no {missing[0]!r}" if isinstance(content, dict) else "it holds no dictionary"
        raise ValueError(f"{file} is damaged ({lacks}): {remedy}")
    return content
