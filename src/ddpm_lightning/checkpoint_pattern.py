"""`checkpoint='multirun/NAME/*'`: all runs whose folders match, as a sweep over them."""

import glob
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

KEY = "checkpoint="


def expand_checkpoints(words: Sequence[str]) -> list[str]:
    """The command line's words, with a pattern for `checkpoint` replaced by what matches it, comma-separated.

    Folders without a checkpoint are left out. A value in Hydra's quotes is no pattern.

    Raises:
        FileNotFoundError: if nothing matches.
        ValueError: if several match and this is no sweep.
    """
    return [_expanded(word, words) if word.startswith(KEY) and glob.has_magic(word) else word for word in words]


def _expanded(word: str, words: Sequence[str]) -> str:
    pattern = word.removeprefix(KEY)
    if pattern.startswith(("'", '"')):
        return word
    if Path(pattern).exists():  # brackets may be part of a name
        return KEY + _quoted(pattern)
    matches = [Path(path) for path in sorted(glob.glob(pattern))]
    found = [path for path in matches if path.suffix == ".ckpt" or (path / "checkpoints" / "last.ckpt").is_file()]
    if not found:
        raise FileNotFoundError(f"no checkpoint and no run with checkpoints/last.ckpt matches {pattern}")
    if len(found) > 1 and not {"-m", "--multirun"} & set(words):
        raise ValueError(f"{len(found)} runs match {pattern}: add -m to take one after the other")
    return KEY + ",".join(_quoted(str(path)) for path in found)


def _quoted(path: str) -> str:
    return QuotedString(path, Quote.single).with_quotes()
