"""The name under which a command was called, and pages of text that it prints."""

import os
import sys
from pathlib import Path


def program_name() -> str:
    """The name that begins an error message: `train.py`, or `ddpm-train` of an installed package."""
    return Path(sys.argv[0]).name


def program_call() -> str:
    """What a user types to call this command again: `python train.py` or `ddpm-train`."""
    name = program_name()
    return f"python {name}" if name.endswith(".py") else name


def print_page(text: str) -> None:
    """Prints a text whose reader may stop early, as `| head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # Python would report it once more when it flushes the stream at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
