"""What is saved: every pixel, in the photo's own colours, and nothing else of the photo."""

from __future__ import annotations

import errno
import io
import struct
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, JpegImagePlugin

from fader_demo.photos import read_photo
from fader_demo.saving import PictureFormat, replacing, save_picture

FORMATS = get_args(PictureFormat)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def display_p3() -> bytes:
    """sRGB's curve with the primaries of Display P3 (adapted to D50), in an ICC profile."""
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    profile = bytearray(SRGB)
    (tags,) = struct.unpack_from(">I", profile, 128)
    for at in range(132, 132 + 12 * tags, 12):
        name, start = struct.unpack_from(">4sI", profile, at)
        if name in primaries:
            numbers = (round(c * 65536) for c in primaries[name])
            struct.pack_into(">3i", profile, start + 8, *numbers)
    return bytes(profile)


P3 = display_p3()


@pytest.fixture
def picture() -> Image.Image:
    """Soft colours that sRGB and Display P3 both hold, without symmetry: 96 x 64."""
    y, x = np.mgrid[:64, :96]
    return Image.fromarray(np.stack([80 + x, 90 + y, 150 - x // 2], axis=-1).astype(np.uint8))


def written(image: Image.Image, kind: PictureFormat, profile: bytes | None = None) -> Image.Image:
    file = io.BytesIO()
    save_picture(image, file, kind, profile)
    saved = Image.open(io.BytesIO(file.getvalue()))
    saved.load()
    return saved


def difference(a: Image.Image, b: Image.Image) -> NDArray[np.float64]:
    return np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_keeps_its_size_and_its_look(picture: Image.Image, kind: PictureFormat) -> None:
    saved = written(picture, kind)
    assert (saved.format, saved.size, saved.mode) == (kind, picture.size, "RGB")
    assert difference(saved, picture).mean() < (0 if kind == "PNG" else 1.5) + 1e-9


def test_a_jpeg_keeps_the_sharpness_of_colours(picture: Image.Image) -> None:
    saved = written(picture, "JPEG")
    assert JpegImagePlugin.get_sampling(saved) == 0


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("profile", [None, P3], ids=["no profile", "P3"])
def test_nothing_else_that_an_image_carries_is_written(
    picture: Image.Image, kind: PictureFormat, profile: bytes | None
) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    private = {"comment": b"where I live", "xmp": b"where I live", "exif": exif.tobytes()}
    picture.info |= {**private, "dpi": (72, 72), "icc_profile": SRGB}
    file = io.BytesIO()
    save_picture(picture, file, kind, profile)
    assert b"where I live" not in file.getvalue()
    saved = Image.open(io.BytesIO(file.getvalue()))
    assert not saved.getexif()
    assert saved.info.get("icc_profile") == profile
    assert "comment" in picture.info


@pytest.mark.parametrize("kind", FORMATS)
def test_a_display_p3_photo_comes_out_as_display_p3_with_the_same_look(
    picture: Image.Image, kind: PictureFormat, tmp_path: Path
) -> None:
    picture.save(tmp_path / "photo.png", icc_profile=P3)
    photo = read_photo(tmp_path / "photo.png")
    assert difference(photo, picture).max() > 3  # the same colours in other numbers
    saved = written(photo, kind, photo.info["icc_profile"])
    assert saved.info["icc_profile"] == P3
    apart = difference(saved, picture)
    assert apart.max() <= 1 if kind == "PNG" else apart.mean() < 2
    assert difference(read_photo(saved), photo).mean() < 2


def test_an_srgb_profile_changes_no_pixel(picture: Image.Image) -> None:
    saved = written(picture, "PNG", SRGB)
    assert difference(saved, picture).max() == 0
    assert saved.info["icc_profile"] == SRGB


def test_a_profile_that_cannot_be_used_is_refused(picture: Image.Image, tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (b"not a profile", SRGB[:200], lab):
        with pytest.raises(ValueError, match="profile"):
            save_picture(picture, tmp_path / "a.png", "PNG", profile)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_only_by_a_whole_one(
    picture: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_picture(picture, tmp_path / "a.png", "PNG")
    before = (tmp_path / "a.png").read_bytes()
    monkeypatch.setattr(Image.Image, "save", _disk_is_full)
    for name in ("a.png", "b.png"):
        with pytest.raises(OSError, match="No space"):
            save_picture(picture, tmp_path / name, "PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


def _disk_is_full(image: Image.Image, path: Path, *_: Any, **__: Any) -> None:
    path.write_bytes(b"half a pict")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_that_is_not_there_is_an_oserror(picture: Image.Image, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save_picture(picture, tmp_path / "absent" / "a.png", "PNG")


def test_an_interrupted_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        assert temporary.parent == tmp_path
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
