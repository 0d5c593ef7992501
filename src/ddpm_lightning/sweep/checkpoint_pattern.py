"""`checkpoint='multirun/NAME/*'`: all runs whose folders match, as a sweep over them."""

import glob
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from ddpm_lightning.runs.find_checkpoint import PREVIOUS_CHECKPOINT
from ddpm_lightning.runs.run_folder import RunFolder

KEY = "checkpoint="
TAKES_A_VALUE = (
    "--config-dir",
    "-cd",
    "--config-path",
    "-cp",
    "--config-name",
    "-cn",
    "--package",
    "-p",
    "--info",
    "-i",
)
"""Hydra's flags after which a word stands that is theirs."""
_typed: dict[str, str] = {}


def name_checkpoint(words: Sequence[str]) -> list[str]:
    """The command line's words, with `checkpoint=` before a path, or a pattern of paths, that stands alone."""
    return [
        KEY + word if before not in TAKES_A_VALUE and _is_path(word) else word
        for before, word in zip(["", *words], words, strict=False)
        if word
    ]


def _is_path(word: str) -> bool:
    """Whether a word is a path or a pattern, and not an option; `epoch=1.ckpt` is a path if there is such a file."""
    if word[0] in "-~":
        return False
    key, equals, _ = word.partition("=")
    if equals:
        return (word.endswith(".ckpt") or "/" in key) and os.path.exists(word)
    return os.path.exists(word) or glob.has_magic(word)


def expand_checkpoints(words: Sequence[str]) -> list[str]:
    """The command line's words, with a pattern for `checkpoint` replaced by what matches it, comma-separated.

    A folder without a finished run and its checkpoint is left out, with a message if it holds a run. Quoted values are
    taken literally.

    Raises:
        FileNotFoundError: if nothing is left.
        ValueError: if several match and this is not a sweep.
    """
    return [_expanded(word, words) if word.startswith(KEY) and glob.has_magic(word) else word for word in words]


def _expanded(word: str, words: Sequence[str]) -> str:
    pattern = word.removeprefix(KEY)
    if pattern.startswith(("'", '"')):
        return word
    if Path(pattern).exists():  # brackets may be part of a name
        return KEY + _quoted(pattern)
    found = [path for path in map(Path, sorted(glob.glob(pattern))) if _is_finished(path)]
    if not found:
        raise FileNotFoundError(f"no checkpoint and no finished run with checkpoints/last.ckpt matches {pattern}")
    if len(found) > 1 and not {"-m", "--multirun"} & set(words):
        raise ValueError(f"{len(found)} runs match {pattern}: add -m to take one after the other")
    expanded = KEY + ",".join(_quoted(str(path)) for path in found)
    _typed[expanded] = word
    return expanded


def _is_finished(path: Path) -> bool:
    if path.is_file():
        return path.suffix == ".ckpt" and path.name != PREVIOUS_CHECKPOINT.name
    run = RunFolder(path)
    state = run.read_status()["state"]
    if state not in ("new", "done"):
        print(f"{path} is left out: its run is {state}", file=sys.stderr)
    return state == "done" and run.last_checkpoint.is_file()


def pattern_as_typed(word: str) -> str:
    """The pattern as typed, so that the sweep's folder does not depend on how many runs match."""
    return _typed.get(word, word)


def _quoted(path: str) -> str:
    return QuotedString(path, Quote.single).with_quotes()
