"""From an image file of any format to a small square of uint8."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ddpm_lightning.data.sources.colour import ColourProfileError, to_srgb
from ddpm_lightning.data.sources.png import PngChunks

SQUARE = (
    "upright by EXIF, on white where transparent, centre square of the shorter side, Pillow bilinear antialiased, "
    "embedded colour profile converted to sRGB"
)
"""Human-readable description of `read_square`."""

MIRRORED = "mirrored by the EXIF orientation, as viewers show them"
BROKEN_EXIF = "EXIF data cannot be read, so not turned upright"
BROKEN_PROFILE = "colour profile cannot be used, so colours as stored"
BROKEN_METADATA = "text or other metadata cannot be read (or takes more than 1 MB), so used without it"

_NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PALM", "PDF", "WMF"}
"""Formats that Pillow cannot decode, and PostScript, which it would pass to Ghostscript."""


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the picture upright."""
_MIRRORING = {2, 4, 5, 7}
_PNG_REMARKS = {b"iCCP": BROKEN_PROFILE, b"eXIf": BROKEN_EXIF}
"""Kind of a PNG's metadata -> what it means that it is left out, if that is more than a loss of text."""

Remark = Callable[[str], object]
"""Called with what is odd about a file."""


class UnreadableImageError(ValueError):
    """A file is not an image, is missing or truncated, or has pixels of unknown range."""


def image_suffixes() -> frozenset[str]:
    """Lowercase suffixes of the files that `read_square` reads."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind not in _NOT_DECODED)


def read_square(path: str | Path, channels: int, size: int, remark: Remark = lambda _: None) -> np.ndarray:
    """The centre square of an image file, resized.

    The first frame of an animation; 16-bit values are scaled to 8 bits; palettes and CMYK become RGB; embedded
    colour profiles are converted to sRGB; colour is converted to grey or grey to colour, depending on `channels`.
    Metadata that cannot be read are ignored.

    Args:
        path: a file of any format that Pillow reads.
        channels: 1 for greyscale, 3 for colour.
        size: height and width wanted.
        remark: called with each oddity of a file that is used all the same, one of the constants of this module.

    Returns:
        uint8 (channels, size, size).

    Raises:
        UnreadableImageError: the file cannot be read as an image.
        OSError: the system refuses to read it, which says nothing about the image.
        MemoryError: it is too large for the available memory.
    """
    with _explained(path), _decoded_file(path, remark) as image:
        square = _small_square(image, size, remark)
        pixels = np.asarray(square.convert("L" if channels == 1 else "RGB"))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def read_grey(path: str | Path) -> np.ndarray:
    """An image file in its own size, in grey, uint8 (H, W). Raises what `read_square` raises."""
    with _explained(path), _decoded_file(path, lambda _: None) as image:
        return np.asarray(_eight_bit(image).convert("L"))


@contextlib.contextmanager
def _explained(path: str | Path) -> Iterator[None]:
    """Raises what goes wrong with a file as `read_square` says."""
    try:
        yield
    except MemoryError as error:
        raise MemoryError(f"not enough memory to decode {path}") from error
    except Exception as error:  # Pillow's decoders raise many kinds of errors for a damaged file
        # The system's errors have a number: no permission, a failing disk, ...
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError):
            raise
        raise UnreadableImageError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Why, without the file's path, which some messages of Pillow and the system contain."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    return str(error) or type(error).__name__


def _decoded_file(path: str | Path, remark: Remark) -> Image.Image:
    """The decoded image; one of a PNG whose metadata Pillow refuses is decoded without them."""
    try:
        return _decoded(path)
    except MemoryError:
        raise
    except Exception:
        png = PngChunks(path)
        for kept in ({b"iCCP", b"eXIf"}, {b"eXIf"}, set[bytes]()):
            with contextlib.suppress(Exception):
                image = _decoded(io.BytesIO(png.file_with(kept)))
                for oddity in {_PNG_REMARKS.get(kind, BROKEN_METADATA) for kind in png.metadata - kept}:
                    remark(oddity)
                return image
        raise


def _decoded(file: str | Path | io.BytesIO) -> Image.Image:
    with contextlib.ExitStack() as closing:
        image = closing.enter_context(Image.open(file))
        _check_kind(image)
        image.load()
        closing.pop_all()
    return image


def _check_kind(image: Image.Image) -> None:
    if image.format in _NOT_DECODED:
        raise UnreadableImageError(f"files of the format {image.format} are not read")
    # Mode I holds 32 bits in TIFF and 16 in the other formats.
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise UnreadableImageError("its pixels are floating-point or 32-bit numbers of unknown range")


def _small_square(image: Image.Image, size: int, remark: Remark) -> Image.Image:
    """The centre square, upright, resized and in sRGB, of mode L or RGB."""
    profile = image.info.get("icc_profile")
    if profile is None and "icc_profile" in image.info:  # Pillow has found one that it cannot read
        remark(BROKEN_PROFILE)
    square = _centre_square(_upright(image, remark))
    if square.mode == "CMYK" and profile:  # inks cannot be averaged
        square, profile = _in_srgb(square, profile, remark), None
    square = _eight_bit(square)
    if square.size != (size, size):
        square = square.resize((size, size), Image.Resampling.BILINEAR)
    # On the small image, since of a large one it would take longer than decoding.
    return _in_srgb(square, profile, remark) if profile else square


def _upright(image: Image.Image, remark: Remark) -> Image.Image:
    # Not `ImageOps.exif_transpose`, which writes all tags again and fails for values that are out of range.
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except MemoryError:
        raise
    except Exception:  # Pillow's parsers raise many kinds of errors for damaged data
        remark(BROKEN_EXIF)
        return image
    if orientation in _MIRRORING:
        remark(MIRRORED)
    # No copy of one that is upright: to map and clear its memory would take half of the time.
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _centre_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (round((length - side) / 2) for length in image.size)
    # Cropped first: resizing with a box would mix in pixels outside it.
    return image.crop((left, top, left + side, top + side))


def _in_srgb(image: Image.Image, profile: bytes, remark: Remark) -> Image.Image:
    try:
        return to_srgb(image, profile)
    except ColourProfileError:
        remark(BROKEN_PROFILE)
        return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image with 8 bits per channel, and opaque."""
    if image.mode.startswith("I"):  # 16 bits, which some formats hold in 32
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    # Palettes and inks cannot be averaged. The conversion between colour and grey is cheaper after the resize.
    return image if image.mode in ("L", "RGB") else image.convert("RGB")
