"""Zip archives of others, such as `.npz` files and checkpoints: what they declare, before memory is taken for it."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

MAX_RATIO = 200
"""How much smaller than its content an honest archive may be: deflate reaches 1,000 for zeros, images 5."""
ALWAYS_FINE = 2**26
"""Bytes that may be unpacked from any archive."""


def check_declared_sizes(path: str | Path) -> None:
    """Checks that an archive does not unpack to far more than it has, and that its arrays fit into their members.

    Raises:
        ValueError: it is a decompression bomb, its members overlap, or an array's header declares more than follows.
        zipfile.BadZipFile: it is damaged.
    """
    size = Path(path).stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > max(ALWAYS_FINE, MAX_RATIO * size):
            raise ValueError(f"it is refused: {size:,} bytes that unpack to {unpacked:,}")
        if sum(member.compress_size for member in members) > size:
            raise ValueError("it is refused: its members overlap")
        for member in members:
            if member.filename.endswith(".npy"):
                _check_array(archive, member)


def check_checksums(path: str | Path) -> None:
    """Checks that every member of an archive is as it was written: reads it and compares its CRC-32.

    Raises:
        ValueError: one is not, or the list of members is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (RuntimeError, EOFError, zlib.error, zipfile.BadZipFile) as error:  # as for a flag that is set by damage
        raise ValueError(str(error)) from error
    if damaged:
        raise ValueError(f"the checksum of its part {damaged} is wrong")


def _check_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    declared = dtype.itemsize * int(np.prod(shape, dtype=object))
    if declared > member.file_size:
        raise ValueError(f"it is refused: {member.filename} declares {declared:,} bytes and has {member.file_size:,}")
