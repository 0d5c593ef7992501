"""Pickles of arrays, read without running any code that they name."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

_NEEDED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # its module has another name by now
}
"""All that a pickle of arrays may name."""


class _ArrayUnpickler(pickle.Unpickler):
    """Builds numbers, texts, containers and arrays; a pickle that names anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NEEDED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of an array") from None


def load_arrays(path: Path) -> Any:
    """What a pickle of plain values and numpy arrays, written by Python 2, holds.

    Raises:
        pickle.UnpicklingError: the pickle names something else, or is damaged; damage may raise other errors too.
    """
    with path.open("rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()
