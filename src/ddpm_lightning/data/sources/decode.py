"""From an image file of any format to a small square of uint8."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SQUARE = "upright by EXIF, on white where transparent, centre square of the shorter side, Pillow bilinear antialiased"
"""Human-readable description of `read_square`."""

_NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PALM", "PDF", "WMF"}
"""Formats that Pillow cannot decode, and PostScript, which it would pass to Ghostscript."""


class UnreadableImageError(ValueError):
    """A file is not an image, is missing or truncated, or has pixels of unknown range."""


def image_suffixes() -> frozenset[str]:
    """Lowercase suffixes of the files that `read_square` reads."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind not in _NOT_DECODED)


def read_square(path: str | Path, channels: int, size: int) -> np.ndarray:
    """The centre square of an image file, resized.

    The first frame of an animation; 16-bit values are scaled to 8 bits; palettes and CMYK become RGB; colour is
    converted to grey or grey to colour, depending on `channels`.

    Args:
        path: a file of any format that Pillow reads.
        channels: 1 for greyscale, 3 for colour.
        size: height and width wanted.

    Returns:
        uint8 (channels, size, size).

    Raises:
        UnreadableImageError: the file cannot be read as an image.
        OSError: the system refuses to read it, which says nothing about the image.
        MemoryError: it is too large for the available memory.
    """
    try:
        with Image.open(path) as image:
            _check_kind(image)
            # In place: to map and clear memory for a copy of each photograph would take half of the time.
            ImageOps.exif_transpose(image, in_place=True)
            square = _square(_eight_bit(image), size)
            pixels = np.asarray(square.convert("L" if channels == 1 else "RGB"))
    except MemoryError as error:
        raise MemoryError(f"not enough memory to decode {path}") from error
    except Exception as error:  # Pillow's decoders raise many kinds of errors for a damaged file
        # The system's errors have a number: no permission, a failing disk, ...
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError):
            raise
        raise UnreadableImageError(_reason(error)) from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _reason(error: Exception) -> str:
    """Why, without the file's path, which some messages of Pillow and the system contain."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    return str(error) or type(error).__name__


def _check_kind(image: Image.Image) -> None:
    if image.format in _NOT_DECODED:
        raise UnreadableImageError(f"files of the format {image.format} are not read")
    # Mode I holds 32 bits in TIFF and 16 in the other formats.
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise UnreadableImageError("its pixels are floating-point or 32-bit numbers of unknown range")


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image with 8 bits per channel, and opaque."""
    if image.mode.startswith("I"):  # 16 bits, which some formats hold in 32
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    # Palettes and inks cannot be averaged. The conversion between colour and grey is cheaper after the resize.
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _square(image: Image.Image, size: int) -> Image.Image:
    side = min(image.size)
    left, top = (round((length - side) / 2) for length in image.size)
    # Cropped first: resizing with a box would mix in pixels outside it.
    square = image.crop((left, top, left + side, top + side))
    return square if side == size else square.resize((size, size), Image.Resampling.BILINEAR)
