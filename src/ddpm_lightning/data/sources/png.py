"""PNG files without their metadata, for those whose metadata Pillow refuses."""

from collections.abc import Set
from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_FRAME = 12  # bytes of a chunk beside its content: length, kind, checksum


class PngChunks:
    """The chunks of a PNG file; none, if the file is of another format or truncated.

    Attributes:
        metadata: kinds of the chunks that pixels do not need.
    """

    def __init__(self, path: str | Path) -> None:
        self._chunks: list[tuple[bytes, bytes]] = []
        with open(path, "rb") as file:
            content = file.read() if file.read(len(_SIGNATURE)) == _SIGNATURE else b""
        start = 0
        while start < len(content):
            end = start + _FRAME + int.from_bytes(content[start : start + 4], "big")
            kind = content[start + 4 : start + 8]
            self._chunks.append((kind, content[start:end]))
            if kind == b"IEND":
                break
            start = end
        if start >= len(content):
            self._chunks = []
        self.metadata = {kind for kind, _ in self._chunks} - _PIXELS

    def file_with(self, metadata: Set[bytes]) -> bytes:
        """The file with only these kinds of metadata."""
        kept = _PIXELS | metadata
        return _SIGNATURE + b"".join(chunk for kind, chunk in self._chunks if kind in kept)
