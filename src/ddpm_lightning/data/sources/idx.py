"""The idx format of MNIST and its relatives: a header of big-endian sizes, then the raw bytes."""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ddpm_lightning.data.sources.source import DataFileError

_UINT8 = 0x08
_MAX_BYTES = 2**30
"""What a file may hold; those of MNIST hold 47 MB."""


def read_idx(path: Path) -> np.ndarray:
    """Reads an idx file of unsigned bytes, packed (.gz) or not.

    Returns:
        uint8 array of the shape that the header states.

    Raises:
        DataFileError: not an idx file of unsigned bytes, or not as long as its header says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read_array(file, path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataFileError(f"{path} is not a complete gzip archive ({error})") from error


def _read_array(file: BinaryIO | gzip.GzipFile, path: Path) -> np.ndarray:
    """The array of an open file; what a header declares bounds what is read, since a small archive may unpack to much.

    Raises:
        DataFileError: as `read_idx`.
    """
    start = file.read(4)
    if len(start) < 4 or start[:3] != bytes([0, 0, _UINT8]):
        raise DataFileError(f"{path} is not an idx file of unsigned bytes: it begins with {start.hex() or 'nothing'}")
    sizes = file.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise DataFileError(f"{path} is truncated: it ends within its header")
    shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
    expected = math.prod(shape)
    if expected > _MAX_BYTES:
        raise DataFileError(f"{path} is refused: its header {shape} declares more than {_MAX_BYTES:,} bytes")
    data = file.read(expected + 1)
    if len(data) != expected:
        there = f"{len(data):,}" if len(data) < expected else "more"
        raise DataFileError(f"{path} is damaged: its header {shape} asks for {expected:,} bytes, it has {there}")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
