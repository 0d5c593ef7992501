"""Each kind of image file gives the picture that a person would see, or an error with the reason."""

import errno
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional

from ddpm_lightning.data.sources.decode import UnreadableImageError, image_suffixes, read_square

SIDE = 12
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
ALPHA = COLOUR[..., 1]


def read(path: Path, channels: int = 3) -> np.ndarray:
    """(SIDE, SIDE, channels), so that nothing is resized."""
    return read_square(path, channels, SIDE).transpose(1, 2, 0)


def as_colour(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


def on_white(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opacity = alpha[..., None] / 255
    return values * opacity + 255 * (1 - opacity)


def write_png(path: Path, colour_type: int, bits: int, samples: np.ndarray) -> None:
    """A PNG by hand: Pillow writes no 16-bit colour."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = samples.shape[:2]
    lines = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "tga"])
def test_colour_and_grey_are_read_as_stored(tmp_path, suffix):
    Image.fromarray(COLOUR).save(tmp_path / f"colour.{suffix}")
    Image.fromarray(GREY).save(tmp_path / f"grey.{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"colour.{suffix}"), COLOUR)
    np.testing.assert_array_equal(read(tmp_path / f"grey.{suffix}"), as_colour(GREY))
    np.testing.assert_array_equal(read(tmp_path / f"grey.{suffix}", channels=1)[..., 0], GREY)


def test_colour_becomes_grey_by_its_luminance(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    luminance = COLOUR @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    assert np.abs(read(tmp_path / "a.png", channels=1)[..., 0] - luminance).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparent_colour_lies_on_white(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    Image.fromarray(np.dstack([COLOUR, ALPHA])).save(path, **options)
    assert np.abs(read(path) - on_white(COLOUR, ALPHA)).max() <= 1


def test_transparent_grey_lies_on_white(tmp_path):
    Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]).save(tmp_path / "a.png")
    assert np.abs(read(tmp_path / "a.png") - on_white(as_colour(GREY), ALPHA)).max() <= 1
    assert np.abs(read(tmp_path / "a.png", channels=1) - on_white(GREY[..., None], ALPHA)).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_palette_with_transparency_gives_colours_and_white(tmp_path, suffix):
    entries = RNG.integers(0, 4, (SIDE, SIDE), dtype=np.uint8)
    palette = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 30], [90, 0, 200]], np.uint8)
    image = Image.fromarray(entries)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / f"a.{suffix}", transparency=2)
    palette[2] = 255
    np.testing.assert_array_equal(read(tmp_path / f"a.{suffix}"), palette[entries])


def test_one_bit_is_black_and_white(tmp_path):
    Image.fromarray(GREY > 127).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), as_colour(np.where(GREY > 127, 255, 0)))


@pytest.mark.parametrize("file", ["a.png", "a.tif", "big_endian.tif", "a.pgm"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, file):
    deep = RNG.integers(0, 65536, (SIDE, SIDE), dtype=np.uint16)
    deep[0, :3] = 0, 65535, 257 * 100
    if file == "a.pgm":
        (tmp_path / file).write_bytes(f"P5 {SIDE} {SIDE} 65535\n".encode() + deep.astype(">u2").tobytes())
    else:
        Image.fromarray(deep.astype(">u2") if file == "big_endian.tif" else deep).save(tmp_path / file)
    np.testing.assert_array_equal(read(tmp_path / file), as_colour(np.round(deep / 257)))


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4)])
def test_sixteen_bit_colour_keeps_its_brightness(tmp_path, colour_type, channels):
    deep = np.dstack([COLOUR, np.full_like(GREY, 255)])[..., :channels].astype(int) * 257
    write_png(tmp_path / "a.png", colour_type, 16, deep)
    np.testing.assert_array_equal(read(tmp_path / "a.png"), COLOUR)


@pytest.mark.parametrize(
    ("inks", "seen"),
    [
        ((0, 255, 255, 0), (255, 0, 0)),
        ((0, 0, 0, 0), (255,) * 3),
        ((0, 0, 0, 255), (0,) * 3),
        ((255, 0, 0, 0), (0, 255, 255)),
    ],
)
def test_cmyk_has_the_colours_of_print(tmp_path, inks, seen):
    Image.new("CMYK", (SIDE, SIDE), inks).save(tmp_path / "a.jpg", quality=100)
    Image.new("CMYK", (SIDE, SIDE), inks).save(tmp_path / "a.tif")
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()  # the marker of inverted inks
    assert np.abs(read(tmp_path / "a.jpg").astype(int) - seen).max() <= 2
    assert np.abs(read(tmp_path / "a.tif").astype(int) - seen).max() <= 2


AS_STORED = {  # EXIF 2.3: which sides of the picture the first row and the first column of the file are
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.swapaxes(0, 1),
    6: lambda seen: seen[:, ::-1].swapaxes(0, 1),
    7: lambda seen: seen[::-1, ::-1].swapaxes(0, 1),
    8: lambda seen: seen[::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("orientation", AS_STORED)
@pytest.mark.parametrize("file", ["a.png", "a.jpg"])
def test_exif_turns_the_picture_upright(tmp_path, orientation, file):
    seen = np.zeros((SIDE, SIDE + 8, 3), np.uint8)  # the square to be cut out of the middle has four unlike corners
    seen[:6, :10], seen[:6, 10:], seen[6:, :10] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(AS_STORED[orientation](seen))
    Image.fromarray(stored).save(
        tmp_path / file, exif=exif, **({"quality": 100, "subsampling": 0} if "j" in file else {})
    )
    assert np.abs(read(tmp_path / file).astype(int) - seen[:, 4:-4]).max() <= (3 if "j" in file else 0)


@pytest.mark.parametrize("file", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_an_animation_gives_its_first_frame(tmp_path, file):
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if file == "a.webp" else {}
    frames[0].save(tmp_path / file, save_all=True, append_images=frames[1:], **options)
    with Image.open(tmp_path / file) as image:
        assert image.n_frames == 3
    np.testing.assert_array_equal(read(tmp_path / file), np.broadcast_to((255, 0, 0), (SIDE, SIDE, 3)))


@pytest.mark.parametrize("shape", [(37, 50), (50, 37), (41, 41), (64, 33), (200, 151), (9, 14)])
def test_crop_and_resize_are_torchvisions_in_floating_point(tmp_path, shape):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    noise = RNG.normal(0, 30, (*shape, 3))
    picture = np.clip(np.stack([rows * 4, columns * 5, rows + columns], -1) % 256 + noise, 0, 255).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    whole = torch.from_numpy(picture).permute(2, 0, 1).float()
    square = functional.center_crop(whole, [min(shape)])
    theirs = functional.resize(square, [16, 16], functional.InterpolationMode.BILINEAR, antialias=True)
    difference = read_square(tmp_path / "a.png", 3, 16) - theirs.numpy()
    assert np.abs(difference).max() <= 1.01  # Pillow rounds once more, between its two passes
    assert abs(difference.mean()) < 0.1


def half_a_jpeg(path: Path) -> None:
    Image.fromarray(COLOUR).resize((200, 200)).save(path, "JPEG")
    os.truncate(path, path.stat().st_size // 2)


def half_a_png(path: Path) -> None:
    Image.fromarray(COLOUR).save(path)
    os.truncate(path, path.stat().st_size // 2)


def postscript(path: Path) -> None:
    Image.fromarray(COLOUR).save(path, "EPS")


REFUSED = {
    "floats.tif": (lambda path: Image.fromarray(GREY / np.float32(255)).save(path), "unknown range"),
    "integers.tif": (lambda path: Image.fromarray(GREY.astype(np.int32)).save(path), "unknown range"),
    "half.jpg": (half_a_jpeg, "truncated"),
    "half.png": (half_a_png, "truncated"),
    "empty.jpg": (lambda path: path.write_bytes(b""), "not an image of a known format"),
    "text.jpg": (lambda path: path.write_text("not found\n"), "not an image of a known format"),
    "page.jpg": (postscript, "EPS are not read"),
    "absent.jpg": (lambda path: None, "the file is missing"),
}


@pytest.mark.parametrize("file", REFUSED)
def test_a_file_that_is_not_a_whole_image_is_refused(tmp_path, file):
    write, reason = REFUSED[file]
    write(tmp_path / file)
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        read(tmp_path / file)
    assert str(tmp_path) not in str(caught.value)  # the caller adds the path


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIDE * SIDE // 2 - 1)
    with pytest.raises(UnreadableImageError, match="decompression bomb"):
        read(tmp_path / "a.png")


def test_an_error_of_the_system_is_not_damage_of_the_image(tmp_path, monkeypatch):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    def exhaust(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", refuse)
        with pytest.raises(PermissionError):
            read(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "crop", exhaust)
    with pytest.raises(MemoryError, match=r"not enough memory to decode .*a\.png"):
        read(tmp_path / "a.png")


def test_suffixes_are_of_formats_that_are_decoded():
    assert image_suffixes() >= {
        ".jpg",
        ".jpeg",
        ".png",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".jp2",
        ".avif",
        ".mpo",
        ".ppm",
    }
    assert not image_suffixes() & {".pdf", ".eps", ".ps", ".h5", ".mpg", ".txt", ""}
