"""The idx format of MNIST and its relatives: a header of big-endian sizes, then the raw bytes."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from ddpm_lightning.data.sources.source import DataFileError

_UINT8 = 0x08


def read_idx(path: Path) -> np.ndarray:
    """Reads an idx file of unsigned bytes, packed (.gz) or not.

    Returns:
        uint8 array of the shape that the header states.

    Raises:
        DataFileError: not an idx file of unsigned bytes, or not as long as its header says.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataFileError(f"{path} is not a complete gzip archive ({error})") from error
    if len(data) < 4 or data[:3] != bytes([0, 0, _UINT8]):
        raise DataFileError(
            f"{path} is not an idx file of unsigned bytes: it begins with {data[:4].hex() or 'nothing'}"
        )
    header_size = 4 + 4 * data[3]
    if len(data) < header_size:
        raise DataFileError(f"{path} is truncated: it ends within its header")
    shape = tuple(int(size) for size in np.frombuffer(data, dtype=">u4", count=data[3], offset=4))
    expected = header_size + math.prod(shape)
    if len(data) != expected:
        raise DataFileError(f"{path} is damaged: its header {shape} asks for {expected:,} bytes, it has {len(data):,}")
    return np.frombuffer(data, dtype=np.uint8, offset=header_size).reshape(shape)
