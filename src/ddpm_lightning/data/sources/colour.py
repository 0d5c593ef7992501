"""Embedded colour profiles (ICC), converted to sRGB."""

import io
from functools import lru_cache

from PIL import Image, ImageCms

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Colour space of a profile -> mode of the images that it describes."""


class ColourProfileError(ValueError):
    """A colour profile is damaged, or describes other colours than the image has."""


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The image as a viewer that honours its profile shows it: relative colorimetric, black point compensated.

    Args:
        image: of mode L, RGB or CMYK.
        profile: the ICC profile that is embedded in its file. Grey images may have one for colour.

    Returns:
        an image of mode RGB; one that is in sRGB already keeps its values.

    Raises:
        ColourProfileError: the profile cannot be used.
    """
    try:
        transform = _transform(profile)
        if image.mode == "L" and transform.input_mode == "RGB":
            image = image.convert("RGB")
        if image.mode != transform.input_mode:  # Pillow would read memory that is not the image's
            raise ColourProfileError(f"a profile for {transform.input_mode} in an image of {image.mode}")
        return transform.apply(image)
    except (OSError, ValueError, ImageCms.PyCMSError) as error:
        raise ColourProfileError(str(error)) from error


@lru_cache(maxsize=8)  # building it takes longer than its use on a small image, and most images share a profile
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform:
    stored = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = stored.profile.xcolor_space.strip()
    if space not in _MODES:
        raise ColourProfileError(f"profiles for {space} are not used")
    return ImageCms.ImageCmsTransform(
        stored,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        _MODES[space],
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
