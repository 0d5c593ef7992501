"""Good pixels with odd metadata are used, and what was odd is reported."""

import io
import logging
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from ddpm_lightning.data.sources.decode import (
    BROKEN_EXIF,
    BROKEN_METADATA,
    BROKEN_PROFILE,
    MIRRORED,
    UnreadableImageError,
    read_square,
)
from ddpm_lightning.data.sources.folder import FolderSource

SIDE = 12
COLOUR = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
MEGABYTE = 2**20


def read(path):
    """The picture, (SIDE, SIDE, 3), and the set of remarks on it."""
    remarks = []
    return read_square(path, 3, SIDE, remarks.append).transpose(1, 2, 0), set(remarks)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(path, *chunks: bytes, last: bool = False, **options):
    """A PNG of COLOUR with more chunks, before or after its pixels."""
    content = io.BytesIO()
    Image.fromarray(COLOUR).save(content, "PNG", **options)
    written = content.getvalue()
    place = written.index(b"IEND" if last else b"IDAT") - 4
    path.write_bytes(written[:place] + b"".join(chunks) + written[place:])
    return path


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


LONG_TEXT = chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"a cat, " * (MEGABYTE // 6)))
LARGE_PROFILE = chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(MEGABYTE + 1)))
WRONG_CHECKSUM = chunk(b"tEXt", b"Comment\0cat")[:-1] + b"?"


@pytest.mark.parametrize(("odd", "last"), [(LONG_TEXT, False), (LONG_TEXT, True), (WRONG_CHECKSUM, False)])
def test_a_png_with_odd_text_keeps_its_pixels(tmp_path, odd, last):
    path = png_with(tmp_path / "a.png", odd, last=last)
    seen, remarks = read(path)
    np.testing.assert_array_equal(seen, COLOUR)
    assert remarks == {BROKEN_METADATA}


def test_a_png_without_its_text_keeps_turn_and_colours(tmp_path):
    path = png_with(tmp_path / "a.png", LONG_TEXT, exif=turned(3), icc_profile=green_for_red())
    seen, remarks = read(path)
    assert np.abs(seen.astype(int) - COLOUR[::-1, ::-1, [1, 0, 2]]).max() <= 1
    assert remarks == {BROKEN_METADATA}


def test_a_large_profile_is_left_out_and_the_turn_is_kept(tmp_path):
    seen, remarks = read(png_with(tmp_path / "a.png", LARGE_PROFILE, exif=turned(6)))
    np.testing.assert_array_equal(seen, np.rot90(COLOUR, -1))
    assert remarks == {BROKEN_PROFILE}


def test_transparency_and_palette_are_not_metadata(tmp_path):
    image = Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE) % 3)
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat, " * (MEGABYTE // 6), zip=True)
    image.save(tmp_path / "plain.png", transparency=1)
    image.save(tmp_path / "long.png", transparency=1, pnginfo=text)
    np.testing.assert_array_equal(read(tmp_path / "long.png")[0], read(tmp_path / "plain.png")[0])


def test_a_truncated_png_with_long_text_is_refused(tmp_path):
    path = png_with(tmp_path / "a.png", LONG_TEXT)
    whole = path.read_bytes()
    for size in (len(whole) - 100, whole.index(b"IDAT") + 40):
        path.write_bytes(whole[:size])
        with pytest.raises(UnreadableImageError):
            read(path)
    changed = bytearray(whole)
    changed[whole.index(b"IDAT") + 60] ^= 255
    path.write_bytes(changed)
    with pytest.raises(UnreadableImageError):
        read(path)


def test_a_tag_out_of_range_does_not_hinder_the_turn(tmp_path):
    # Orientation 6, and a ResolutionUnit (SHORT) stored as a LONG of 70,000.
    tags = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x0128, 4, 1, 70_000)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + tags + bytes(4)
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    seen, remarks = read(tmp_path / "a.jpg")
    assert np.abs(seen.astype(int) - np.rot90(COLOUR, -1)).max() <= 3
    assert remarks == set()


def test_an_image_with_broken_exif_is_not_turned(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=b"Exif\0\0no tags")
    seen, remarks = read(tmp_path / "a.png")
    np.testing.assert_array_equal(seen, COLOUR)
    assert remarks == {BROKEN_EXIF}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_mirrored_images_are_said_to_be_mirrored(tmp_path, orientation):
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=turned(orientation))
    assert read(tmp_path / "a.png")[1] == ({MIRRORED} if orientation in (2, 4, 5, 7) else set())


def s15(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


D50 = s15(0.9642, 1.0, 0.8249)
LINEAR = b"curv" + bytes(4) + struct.pack(">I", 0)
SRGB_IN_D50 = {b"r": (0.4361, 0.2225, 0.0139), b"g": (0.3851, 0.7169, 0.0971), b"b": (0.1431, 0.0606, 0.7141)}


def icc(space: bytes, connected_by: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2."""
    table, contents = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        start = 128 + 4 + 12 * len(tags) + len(contents)
        table += name + struct.pack(">II", start, len(content))
        contents += content + bytes(-len(content) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = bytes(4) + b"\x02\x10\0\0" + kind + space + connected_by + bytes(12) + b"acsp" + bytes(28) + D50
    head = head.ljust(124, b"\0")
    return struct.pack(">I", 128 + len(table) + len(contents)) + head + table + contents


def xyz(*numbers: float) -> bytes:
    return b"XYZ " + bytes(4) + s15(*numbers)


def linear_colour() -> bytes:
    """The primaries of sRGB, with values that are proportional to the light."""
    tags = {name + b"XYZ": xyz(*column) for name, column in SRGB_IN_D50.items()}
    tags |= {name + b"TRC": LINEAR for name in SRGB_IN_D50} | {b"wtpt": b"XYZ " + bytes(4) + D50}
    return icc(b"RGB ", b"XYZ ", tags)


def green_for_red() -> bytes:
    """Values of sRGB, whose first is the amount of green and whose second that of red."""
    encoded = np.arange(256) / 255
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    curve = b"curv" + bytes(4) + struct.pack(">I", 256) + np.round(light * 65535).astype(">u2").tobytes()
    swapped = dict(zip((b"g", b"r", b"b"), SRGB_IN_D50.values(), strict=True))
    tags = {name + b"XYZ": xyz(*column) for name, column in swapped.items()}
    tags |= {name + b"TRC": curve for name in swapped} | {b"wtpt": b"XYZ " + bytes(4) + D50}
    return icc(b"RGB ", b"XYZ ", tags)


def grey_of_gamma_1_8() -> bytes:
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(1.8 * 256))
    return icc(b"GRAY", b"XYZ ", {b"kTRC": curve, b"wtpt": b"XYZ " + bytes(4) + D50})


def black_ink_only() -> bytes:
    """Inks of which only black is seen: L* falls from 100 to 0 with it."""
    grid = b"".join(bytes([0 if corner % 2 else 255, 128, 128]) for corner in range(16))  # black varies fastest
    identity = bytes(range(256))
    head = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + s15(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = head + identity * 4 + grid + identity * 3
    return icc(b"CMYK", b"Lab ", {b"A2B0": table, b"wtpt": b"XYZ " + bytes(4) + D50})


def as_srgb(light: np.ndarray) -> np.ndarray:
    """Values in 0..255 of light in 0..1 (IEC 61966-2-1)."""
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_a_profile_of_colour_is_converted_to_srgb(tmp_path, suffix):
    path, options = tmp_path / f"a.{suffix}", {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(COLOUR).save(path, icc_profile=linear_colour(), **options)
    seen, remarks = read(path)
    assert np.abs(seen - as_srgb(COLOUR / 255)).max() <= 2
    assert remarks == set()


def test_a_profile_of_grey_is_converted_to_srgb(tmp_path):
    grey = COLOUR[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.png", icc_profile=grey_of_gamma_1_8())
    seen, remarks = read(tmp_path / "a.png")
    expected = as_srgb((grey / 255) ** 1.8)
    assert np.abs(seen - expected[..., None]).max() <= 2
    assert np.abs(read_square(tmp_path / "a.png", 1, SIDE)[0] - expected).max() <= 2
    assert remarks == set()


def test_a_grey_image_may_have_a_profile_of_colour(tmp_path):
    grey = COLOUR[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.jpg", icc_profile=linear_colour(), quality=100)
    seen, remarks = read(tmp_path / "a.jpg")
    in_file = np.asarray(Image.open(tmp_path / "a.jpg"))
    assert np.abs(seen - as_srgb(in_file / 255)[..., None]).max() <= 2
    assert remarks == set()


def test_a_profile_of_inks_is_converted_to_srgb(tmp_path):
    for inks, shade in (((255, 255, 0, 0), 255), ((0, 0, 0, 255), 0)):
        Image.new("CMYK", (SIDE, SIDE), inks).save(tmp_path / "a.tif", icc_profile=black_ink_only())
        seen, remarks = read(tmp_path / "a.tif")
        assert np.abs(seen.astype(int) - shade).max() <= 2
        assert remarks == set()


def test_an_image_in_srgb_keeps_its_values(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(COLOUR).save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0], COLOUR)


@pytest.mark.parametrize("profile", [b"not a profile", linear_colour()[:200], grey_of_gamma_1_8(), black_ink_only()])
def test_a_profile_that_does_not_fit_is_ignored(tmp_path, profile):
    Image.fromarray(COLOUR).save(tmp_path / "a.png", icc_profile=profile)
    seen, remarks = read(tmp_path / "a.png")
    np.testing.assert_array_equal(seen, COLOUR)
    assert remarks == {BROKEN_PROFILE}


def test_a_profile_that_cannot_be_unpacked_is_ignored(tmp_path):
    seen, remarks = read(png_with(tmp_path / "a.png", chunk(b"iCCP", b"profile\0\0not deflated")))
    np.testing.assert_array_equal(seen, COLOUR)
    assert remarks == {BROKEN_PROFILE}


def test_each_oddity_of_a_folder_is_one_warning(tmp_path, caplog):
    for name in "abcde":
        Image.fromarray(COLOUR).save(tmp_path / f"{name}.png", exif=turned(2))
    png_with(tmp_path / "f.png", LONG_TEXT)
    Image.fromarray(COLOUR).save(tmp_path / "g.png")
    source = FolderSource(tmp_path, tmp_path, image_size=4)
    images = np.zeros((7, 3, 4, 4), np.uint8)
    with caplog.at_level(logging.WARNING):
        assert source.read(range(4), images[:4]) == {}
        assert not caplog.records
        assert source.read(range(4, 7), images[4:]) == {}
    assert [record.getMessage() for record in caplog.records] == [
        f"5 of 7 images in {tmp_path}: {MIRRORED} (a.png, b.png, c.png and 2 more)",
        f"1 of 7 images in {tmp_path}: {BROKEN_METADATA} (f.png)",
    ]
