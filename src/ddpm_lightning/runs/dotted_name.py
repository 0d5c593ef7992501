"""The class or function of a dotted name."""

from importlib import import_module
from typing import Any


def imported(name: str) -> Any:
    """The object: as much of the name as is a module is imported, the rest are attributes.

    Raises:
        ImportError, AttributeError: it does not exist. A module raises what it likes while it is imported.
    """
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError:
        if "." not in module:
            raise
        return getattr(imported(module), attribute)
