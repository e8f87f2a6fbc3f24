"""Reading a photo: whatever a visitor or a data set hands over becomes an upright 8-bit RGB image.

What decoding would cost is read from the file's structure before a single pixel is decoded, so that
a small file which unpacks to gigabytes or takes hours (a decompression bomb) is refused at once.
Nothing but pixels and a colour profile survives: EXIF, GPS position, thumbnails and comments stay
behind.
"""

from __future__ import annotations

import io
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TILELENGTH, TILEWIDTH, TiffImageFile

MIN_SIDE = 40
"""Pixels of the shorter side below which no face can be found and edited."""

MAX_PIXELS = 40_000_000
"""Pixels (width times height) above which a photo is not decoded."""

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What photos come as. Pillow reads more, at more risk: EPS runs Ghostscript."""

PhotoSource = Image.Image | str | Path | NDArray[Any]

_DAMAGED = "This image could not be read. Save it again as JPEG or PNG and try that file."

_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")  # of JPEG; the others have no length
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = b"\xd8", b"\xd9", b"\xda"
_MOST_SCANS = 50  # of a JPEG; progressive ones have about ten, each a pass over all pixels

_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 100_000  # of a PNG; they have thousands at most, of 8 KB and more

_TURNS: dict[Any, Image.Transpose] = {  # EXIF's orientation, and what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PhotoError(ValueError):
    """A photo that cannot be edited. The message is for the visitor: what is wrong, what to do."""


class UnreadableImageError(PhotoError):
    """Not an image, damaged, or in none of the `FORMATS`."""


class ImageTooSmallError(UnreadableImageError):
    """The shorter side has fewer than `MIN_SIDE` pixels."""


class ImageTooLargeError(PhotoError):
    """The image has more than `MAX_PIXELS` pixels."""


def read_photo(source: PhotoSource) -> Image.Image:
    """Read a photo as an upright 8-bit RGB image without metadata.

    Args:
        source: a PIL image of any mode, the path of an image file of the `FORMATS` (a pipe or a
            device is none), or an array: (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4), of uint8 or uint16 over their full range, bool, or floating
            point in 0..1. Transparency is laid on white; EXIF orientation is obeyed; an embedded
            colour profile is converted to sRGB. Of an animation, the first frame is read.

    Returns:
        A new image of mode RGB, its pixels sRGB. The source is left as it was. ``info`` is empty,
        but for the ``icc_profile`` of an RGB source whose colours `fader_demo.saving` can go back
        to: it describes the source, not these pixels.

    Raises:
        UnreadableImageError: not an image, or a damaged one.
        ImageTooSmallError: fewer than `MIN_SIDE` pixels on the shorter side.
        ImageTooLargeError: more than `MAX_PIXELS` pixels; nothing has been decoded.
    """
    if isinstance(source, (str, Path)):
        with _open(source) as image:
            return _decode(image)
    if isinstance(source, np.ndarray):
        return _decode(_from_array(source))
    if isinstance(source, Image.Image):
        return _decode(source)
    raise UnreadableImageError(
        f"Expected an image, a path or an array, not {type(source).__name__}. Choose an image file."
    )


def check_size(width: int, height: int) -> None:
    """Raise ImageTooSmallError or ImageTooLargeError unless width x height pixels can be edited."""
    if min(width, height) < MIN_SIDE:
        raise ImageTooSmallError(
            f"This image is {width} x {height} pixels; a face needs at least {MIN_SIDE} on the "
            "shorter side. Choose a larger photo."
        )
    if width * height > MAX_PIXELS:
        raise ImageTooLargeError(
            f"This image is {width} x {height} pixels, more than the {MAX_PIXELS // 1_000_000} "
            "megapixels that can be edited. Make it smaller and try again."
        )


def fitted(photo: Image.Image, max_side: int) -> Image.Image:
    """The photo made smaller, its long side ``max_side`` pixels; one that is no larger, itself."""
    longest = max(photo.size)
    if longest <= max_side:
        return photo
    width, height = (max(1, round(side * max_side / longest)) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _decode(image: Image.Image) -> Image.Image:
    check_size(*image.size)
    try:
        _check_work(image)
        photo = _upright(_to_rgb(image), image)
    except Exception as error:  # what Pillow's decoders raise on damaged files is open-ended
        raise UnreadableImageError(_DAMAGED) from error
    profile = _two_way_profile(image)
    photo.info = {"icc_profile": profile} if profile else {}
    return photo


def _open(path: str | Path) -> Image.Image:
    """Open an image file; no more than its header and its structure are read."""
    if not os.path.isfile(path):  # of a pipe, the end would be waited for
        raise UnreadableImageError(f"There is no file {path}. Check its path.")
    try:
        _check_chunks(path)  # Pillow goes through them as it opens the file
        return Image.open(path, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(
            f"This image has more than the {MAX_PIXELS // 1_000_000} megapixels that can be "
            "edited. Make it smaller and try again."
        ) from error
    except PermissionError as error:
        raise UnreadableImageError(
            f"The file {path} may not be read. Change its permissions, or choose another."
        ) from error
    except Exception as error:  # what Pillow's parsers raise on other files is open-ended
        raise UnreadableImageError(
            "This file is not an image that can be read. Save it as JPEG or PNG and try that file."
        ) from error


def _check_chunks(path: str | Path) -> None:
    """Raise ValueError for a PNG of more chunks than pixels need."""
    with open(path, "rb") as file:
        if file.read(len(_PNG)) != _PNG:
            return
        for _ in range(_MOST_CHUNKS):
            length = file.read(8)[:4]  # and the chunk's type
            if len(length) < 4:
                return
            file.seek(int.from_bytes(length, "big") + 4, os.SEEK_CUR)  # a checksum ends it
    raise ValueError(f"a PNG of more than {_MOST_CHUNKS} chunks")


def _check_work(image: Image.Image) -> None:
    """Raise ValueError for a file that makes far more work than its pixels would."""
    if isinstance(image, JpegImageFile) and image.fp:
        image.fp.seek(0)
        if _scans(image.fp.read()) > _MOST_SCANS:
            raise ValueError(f"a JPEG of more than {_MOST_SCANS} scans")
    if isinstance(image, TiffImageFile) and TILEWIDTH in image.tag_v2:
        sides = [(IMAGEWIDTH, TILEWIDTH), (IMAGELENGTH, TILELENGTH)]
        width, height = (
            math.ceil(image.tag_v2[side] / image.tag_v2[tile]) * image.tag_v2[tile]
            for side, tile in sides
        )
        if width * height > 2 * MAX_PIXELS:
            raise ValueError(f"tiles of {width} x {height} pixels together")


def _scans(jpeg: bytes) -> int:
    """How many times a JPEG's data goes over its pixels."""
    count, at = 0, 0
    while (marker := _MARKER.search(jpeg, at)) and marker[1] != _END_OF_IMAGE:
        count += marker[1] == _START_OF_SCAN
        at = marker.end()
        if marker[1] != _START_OF_IMAGE:
            at += int.from_bytes(jpeg[at : at + 2], "big")
    return count


def _upright(photo: Image.Image, source: Image.Image) -> Image.Image:
    """The photo turned as the EXIF data of its source says; as it is where they are damaged.

    ImageOps.exif_transpose also writes the EXIF data anew, and fails where that cannot be done.
    """
    try:
        orientation = source.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # what Pillow raises on damaged EXIF data is open-ended
        orientation = None
    turn = _TURNS.get(orientation)
    return photo if turn is None else photo.transpose(turn)


def _from_array(array: NDArray[Any]) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise UnreadableImageError(
            f"An array of shape {array.shape} is not an image; expected (H, W), (H, W, 3) or "
            "(H, W, 4)."
        )
    check_size(array.shape[1], array.shape[0])
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return Image.fromarray(_array_to_8_bit(array))


def _array_to_8_bit(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        return _scaled(array, 65535.0)
    if array.dtype == np.bool_ or np.issubdtype(array.dtype, np.floating):
        return _scaled(array, 1.0)
    raise UnreadableImageError(
        f"An array of {array.dtype} has no defined brightness range; use uint8, uint16 or floats "
        "in 0..1."
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey_to_8_bit(image).convert("RGB")
    if _is_transparent(image):
        return _on_white(_to_rgba(image))
    return _to_srgb(image)


def _is_transparent(image: Image.Image) -> bool:
    return "A" in image.mode or "a" in image.mode or "transparency" in image.info


def _to_rgba(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # premultiplied grey converts only by way of LA
        image = image.convert("LA")
    return image.convert("RGBA")


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def _to_srgb(image: Image.Image) -> Image.Image:
    """Convert to RGB, through the embedded colour profile if there is one that can be used."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK", "L"):
        return image.convert("RGB")
    image.load()  # a damaged image must not be taken for a damaged profile
    try:
        transform = ImageCms.buildTransform(
            io.BytesIO(profile), ImageCms.createProfile("sRGB"), image.mode, "RGB"
        )
        same = image.mode == "RGB" and _keeps_colours(transform)
        converted = None if same else ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        converted = None
    return converted or image.convert("RGB")


def _keeps_colours(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether RGB colours come out as they go in, as they do of the many profiles of sRGB.

    A few thousand colours tell, and save the conversion of millions of pixels.
    """
    levels = np.linspace(0, 255, 16, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(64, 64, 3)
    converted = ImageCms.applyTransform(Image.fromarray(colours), transform)
    return int(np.abs(np.asarray(converted) - colours.astype(int)).max()) <= 1


def _two_way_profile(image: Image.Image) -> bytes | None:
    """The profile of an RGB image, if colours can be converted from it and back to it."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode != "RGB" or _is_transparent(image):
        return None
    srgb = ImageCms.createProfile("sRGB")
    try:
        ImageCms.buildTransform(io.BytesIO(profile), srgb, "RGB", "RGB")
        ImageCms.buildTransform(srgb, io.BytesIO(profile), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return bytes(profile)


def _deep_grey_to_8_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits a pixel as mode L; Pillow's own conversion clips it to white."""
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray(_scaled(values, 65535.0))
    brightest = float(np.max(values, where=np.isfinite(values), initial=0))
    return Image.fromarray(_scaled(values, _white_level(brightest, image.mode == "F")))


def _white_level(brightest: float, floating: bool) -> float:
    """The value that stands for white: the least of the usual ones that nothing exceeds."""
    levels = ([1.0] if floating else []) + [255.0, 65535.0, 2.0**31 - 1]
    return next((level for level in levels if brightest <= level), brightest)


def _scaled(values: NDArray[Any], white: float) -> NDArray[np.uint8]:
    scaled = values.astype(np.float32)  # a copy, changed in place: there may be 40 million
    np.nan_to_num(scaled, copy=False, nan=0.0, posinf=white, neginf=0.0)
    scaled *= 255.0 / white
    return np.rint(scaled.clip(0, 255, out=scaled), out=scaled).astype(np.uint8)
