"""Pictures written to files: at full resolution, in the photo's colours, and nothing but pixels."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from PIL import Image, ImageCms

PictureFormat = Literal["PNG", "JPEG", "WEBP"]

PICTURE_FORMATS: dict[str, PictureFormat] = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
"""By the end of a file's name; the first is the one that loses nothing."""

_OPTIONS: dict[PictureFormat, dict[str, Any]] = {
    "PNG": {"compress_level": 1},  # a quarter of the default's time, for a sixth more bytes
    "JPEG": {"quality": 95, "subsampling": 0},  # 4:4:4, colour as sharp as brightness
    "WEBP": {"quality": 95},
}


_LONGEST: dict[PictureFormat, int] = {"PNG": 2**31 - 1, "JPEG": 65_500, "WEBP": 16_383}
"""Pixels a side that a file can hold."""


class PictureError(ValueError):
    """A picture that cannot be saved as it should be; the message says why, and what to do."""


def save_picture(
    image: Image.Image,
    target: Path | BinaryIO,
    format: PictureFormat,
    profile: bytes | None = None,
) -> None:
    """Write an sRGB picture, at its own resolution, to a path or into an open binary file.

    No EXIF, comment or thumbnail is written, whatever the image carries. profile: an ICC profile of
    RGB colours, such as ``Face.profile``; the pixels are converted to it and it is embedded, so
    that the picture looks the same. Without one, none is embedded, which stands for sRGB.

    Raises OSError (a full disk, a folder that is not there) and leaves no half-written file at a
    path, or PictureError: the profile cannot be used, or the format has no room for so many pixels
    a side.
    """
    if max(image.size) > _LONGEST[format]:
        raise PictureError(
            f"A {format} holds {_LONGEST[format]} pixels a side, and this picture has "
            f"{image.width} x {image.height}. Choose PNG."
        )
    picture = pixels_only(image)
    if profile:
        picture = _from_srgb(picture, profile)
    options = {"icc_profile": profile, **_OPTIONS[format]}
    if isinstance(target, Path):
        with replacing(target) as temporary:
            picture.save(temporary, format, **options)
    else:
        picture.save(target, format, **options)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` to write to; it takes that place if all goes well."""
    temporary = path.with_name(f".fader-{secrets.token_hex(8)}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def pixels_only(image: Image.Image) -> Image.Image:
    """A copy in RGB, without what Pillow would write beside the pixels."""
    copy = image.convert("RGB")
    copy.info = {}
    return copy


def _from_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    try:
        converted = ImageCms.profileToProfile(image, srgb, io.BytesIO(profile), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise PictureError(
            "The colour profile cannot be used. Save the picture without it, in sRGB."
        ) from error
    assert converted is not None  # only a conversion in place returns nothing
    return converted
