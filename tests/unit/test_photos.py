"""Whatever is handed over becomes an upright 8-bit RGB image, or an error that says what to do."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from odd_files import encoded, png, tiff
from PIL import Image, ImageCms, TiffImagePlugin

from fader_demo.photos import (
    MAX_PIXELS,
    ImageTooLargeError,
    ImageTooSmallError,
    PhotoError,
    UnreadableImageError,
    read_photo,
)

WIDTH, HEIGHT = 64, 48


def gradient() -> np.ndarray:
    """A picture without symmetry: (48, 64, 3) uint8."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 4, y * 5, (x + y) * 2], axis=-1).astype(np.uint8)


def difference(image: Image.Image, expected: np.ndarray) -> float:
    assert image.mode == "RGB"
    return float(np.abs(np.asarray(image, dtype=float) - expected.astype(float)).mean())


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(gradient())


def test_rgb_comes_back_unchanged_as_a_new_image(picture: Image.Image) -> None:
    result = read_photo(picture)
    assert result is not picture
    assert difference(result, gradient()) == 0


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "RGBX"])
def test_colour_modes_keep_their_colours(picture: Image.Image, mode: str) -> None:
    assert difference(read_photo(picture.convert(mode)), gradient()) < 3


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_other_modes_look_as_pillow_shows_them(picture: Image.Image, mode: str) -> None:
    converted = picture.convert(mode)
    assert difference(read_photo(converted), np.asarray(converted.convert("RGB"))) == 0


def test_a_cmyk_jpeg_is_not_inverted(picture: Image.Image, tmp_path: Path) -> None:
    picture.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert difference(read_photo(tmp_path / "a.jpg"), gradient()) < 6


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    grey = Image.new("LA", (WIDTH, HEIGHT), (100, 255))
    grey.paste((0, 0), (0, 0, 32, HEIGHT))  # the left half is transparent, and black underneath
    image = grey if mode in ("LA", "La") else grey.convert("RGBA")
    result = np.asarray(read_photo(image.convert(mode) if mode != "PA" else to_pa(image)))
    assert (result[:, :32] == 255).all()
    assert (result[:, 32:] == 100).all()


def to_pa(image: Image.Image) -> Image.Image:
    palette = image.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE).convert("PA")
    palette.putalpha(image.getchannel("A"))
    return palette


def test_half_transparency_is_mixed_with_white() -> None:
    image = Image.new("RGBA", (WIDTH, HEIGHT), (100, 0, 0, 128))
    assert np.abs(np.asarray(read_photo(image), dtype=int)[0, 0] - (177, 127, 127)).max() <= 1


def test_a_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (WIDTH, HEIGHT), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 10, HEIGHT))
    image.save(tmp_path / "a.png", transparency=0)
    result = np.asarray(read_photo(tmp_path / "a.png"))
    assert (result[:, :10] == (0, 0, 255)).all()
    assert (result[:, 10:] == 255).all()


RAMP = np.tile(np.linspace(0, 1, 64), (48, 1))


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.rint(RAMP * 65535).astype("<u2")),
        Image.frombytes("I;16B", (64, 48), np.rint(RAMP * 65535).astype(">u2").tobytes()),
        Image.fromarray(np.rint(RAMP * 65535).astype(np.int32)),
        Image.fromarray(np.rint(RAMP * 255).astype(np.int32)),
        Image.fromarray(RAMP.astype(np.float32)),
        Image.fromarray((RAMP * 255).astype(np.float32)),
        Image.fromarray((RAMP * 65535).astype(np.float32)),
    ],
    ids=["I;16", "I;16B", "I, 16 bit", "I, 8 bit", "F, 0..1", "F, 0..255", "F, 0..65535"],
)
def test_deep_grey_is_scaled_not_clipped(image: Image.Image) -> None:
    expected = np.repeat(np.rint(RAMP * 255)[:, :, None], 3, axis=2)
    assert np.abs(np.asarray(read_photo(image)).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_a_16_bit_file_is_scaled(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"deep{suffix}"
    Image.fromarray(np.rint(RAMP * 65535).astype(np.uint16)).save(path)
    result = np.asarray(read_photo(path)).astype(int)
    assert np.abs(result[0, :, 0] - np.rint(RAMP[0] * 255)).max() <= 1


def test_undefined_values_do_not_spoil_the_picture() -> None:
    values = RAMP.astype(np.float32)
    values[0, :4] = np.nan, -np.inf, -5, np.inf
    result = np.asarray(read_photo(Image.fromarray(values)))
    assert (result[0, :3] == 0).all()
    assert (result[0, 3] == 255).all()
    assert result[0, -1, 0] == 255


STORED = {  # what a camera stores for an upright picture, by EXIF orientation
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_is_obeyed(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](gradient()))
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    assert difference(read_photo(tmp_path / "a.png"), gradient()) == 0


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0no EXIF",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x01\0\x06\0\0\0\0\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0\0\0\0\0",
    ],
    ids=["not EXIF", "orientation is a text", "orientation 9"],
)
def test_a_photo_whose_orientation_cannot_be_read_stays_as_it_is(
    picture: Image.Image, tmp_path: Path, exif: bytes
) -> None:
    picture.save(tmp_path / "a.png", exif=exif)
    assert difference(read_photo(tmp_path / "a.png"), gradient()) == 0


def test_orientation_is_obeyed_where_other_exif_data_cannot_be_written_again(
    picture: Image.Image, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x829A] = 0.01  # exposure time, a fraction; here said to be of a type that is none
    damaged = exif.tobytes().replace(b"\x82\x9a\x00\x05", b"\x82\x9a\x00\x04")
    picture.rotate(180).save(tmp_path / "a.png", exif=damaged)
    assert difference(read_photo(tmp_path / "a.png"), gradient()) == 0


def test_no_metadata_is_carried(picture: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    picture.save(tmp_path / "a.jpg", exif=exif, comment=b"secret", dpi=(72, 72))
    result = read_photo(tmp_path / "a.jpg")
    assert dict(result.getexif()) == {}
    assert result.info == {}
    result.save(tmp_path / "b.jpg", exif=result.getexif())
    assert b"where I live" not in (tmp_path / "b.jpg").read_bytes()


def test_a_colour_profile_is_converted_to_srgb(picture: Image.Image, tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    picture.save(tmp_path / "a.png", icc_profile=swapped)  # in it, red and blue change places
    assert difference(read_photo(tmp_path / "a.png"), gradient()[:, :, ::-1]) < 3


def test_a_damaged_colour_profile_is_ignored(picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "a.png", icc_profile=b"not a profile")
    assert difference(read_photo(tmp_path / "a.png"), gradient()) == 0


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_the_profile_of_an_rgb_photo_is_kept_and_nothing_else(
    picture: Image.Image, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", icc_profile=SRGB, exif=exif, comment=b"secret", dpi=(72, 72))
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.info == {"icc_profile": SRGB}
    assert photo.size == (HEIGHT, WIDTH)


def test_an_srgb_profile_changes_no_pixel(picture: Image.Image) -> None:
    picture.info["icc_profile"] = SRGB
    assert difference(read_photo(picture), gradient()) == 0


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA"])
def test_the_profile_of_another_kind_of_image_is_not_kept(picture: Image.Image, mode: str) -> None:
    image = picture.convert(mode)
    image.info["icc_profile"] = SRGB
    assert read_photo(image).info == {}


@pytest.mark.parametrize(
    "profile",
    [
        b"not a profile",
        SRGB[:200],
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
        "a text",
    ],
    ids=["none", "cut off", "of other colours", "text"],
)
def test_a_profile_that_cannot_be_used_is_not_kept(picture: Image.Image, profile: object) -> None:
    picture.info["icc_profile"] = profile
    assert read_photo(picture).info == {}
    assert difference(read_photo(picture), gradient()) == 0


@pytest.mark.parametrize(
    "array",
    [
        gradient(),
        gradient().astype(np.uint16) * 257,
        gradient().astype(np.float64) / 255,
        np.dstack([gradient(), np.full((HEIGHT, WIDTH), 255, np.uint8)]),
        np.asfortranarray(gradient()),
    ],
    ids=["uint8", "uint16", "float", "opaque RGBA", "another memory order"],
)
def test_arrays_are_read(array: np.ndarray) -> None:
    before = array.copy()
    assert difference(read_photo(array), gradient()) == 0
    assert (array == before).all()


def test_grey_and_boolean_arrays_are_read() -> None:
    grey = gradient()[:, :, 0]
    assert difference(read_photo(grey), np.repeat(grey[:, :, None], 3, 2)) == 0
    assert difference(read_photo(grey[:, :, None]), np.repeat(grey[:, :, None], 3, 2)) == 0
    assert set(np.unique(np.asarray(read_photo(grey > 100)))) == {0, 255}


@pytest.mark.parametrize(
    "array",
    [np.zeros((64, 64, 2), np.uint8), np.zeros(64, np.uint8), np.zeros((64, 64), np.int64)],
)
def test_arrays_that_are_no_image_are_refused(array: np.ndarray) -> None:
    with pytest.raises(UnreadableImageError):
        read_photo(array)


def test_a_colour_image_is_read_as_a_copy(picture: Image.Image) -> None:
    read_photo(picture).paste((0, 0, 0), (0, 0, WIDTH, HEIGHT))
    assert difference(picture, gradient()) == 0


def test_the_source_image_is_left_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gradient()).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        read_photo(image)
        assert image.size == (WIDTH, HEIGHT)
        assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize("size", [(39, 500), (500, 39), (1, 1)])
def test_too_small_is_refused_and_says_how_large_it_must_be(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooSmallError, match="40"):
        read_photo(Image.new("RGB", size))


def test_the_least_size_is_read() -> None:
    assert read_photo(Image.new("RGB", (40, 40))).size == (40, 40)


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds no pixels: decoding it is an error of its own."""
    return png(width, height)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("width", "height"),
    [(MAX_PIXELS // 1000 + 1, 1000), (10_000, 10_000), (100_000, 100_000)],
    ids=["just above", "Pillow warns", "Pillow refuses"],
)
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(width, height))
    with pytest.raises(ImageTooLargeError, match="40 megapixels"):
        read_photo(tmp_path / "bomb.png")


def test_the_greatest_size_passes_the_check(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(MAX_PIXELS // 1000, 1000))
    with pytest.raises(UnreadableImageError):  # for want of pixels, no longer for its size
        read_photo(tmp_path / "a.png")


def damaged_files() -> dict[str, bytes]:
    whole = encoded(Image.fromarray(gradient()), "JPEG")
    return {
        "empty.jpg": b"",
        "text.jpg": b"this is not an image",
        "truncated.jpg": whole[:-300],
        "header only.png": png_header(64, 64),
    }


@pytest.mark.parametrize("name", damaged_files())
def test_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(damaged_files()[name])
    with pytest.raises(UnreadableImageError, match="JPEG or PNG"):
        read_photo(tmp_path / name)


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PCX", "EPS"])
def test_formats_that_no_camera_writes_are_not_even_tried(
    picture: Image.Image, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture.save(tmp_path / "a.jpg", kind)
    parser, _ = Image.OPEN[kind]
    monkeypatch.setitem(Image.OPEN, kind, (parser, lambda _: pytest.fail("it was tried")))
    with pytest.raises(UnreadableImageError, match="JPEG or PNG"):
        read_photo(tmp_path / "a.jpg")


def test_a_file_that_may_not_be_read_is_refused_by_name(
    picture: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    picture.save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", denied)
    with pytest.raises(UnreadableImageError, match=r"a\.png may not be read"):
        read_photo(tmp_path / "a.png")


def test_what_looks_like_many_scans_but_is_none_does_not_matter(
    picture: Image.Image, tmp_path: Path
) -> None:
    """A thumbnail before the pixels, a film behind them."""
    scans = b"\xff\xda" * 200
    photo = encoded(picture, "JPEG", progressive=True, comment=scans) + scans
    (tmp_path / "a.jpg").write_bytes(photo)
    assert difference(read_photo(tmp_path / "a.jpg"), gradient()) < 6


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # the file has no more tags than it needs
def test_a_tiff_in_tiles_is_read(tmp_path: Path) -> None:
    tile = np.zeros((256, 256), np.uint8)
    tile[:48, :64] = gradient()[:, :, 0]
    pixels = zlib.compress(tile.tobytes())
    place = {
        TiffImagePlugin.TILEWIDTH: 256,
        TiffImagePlugin.TILELENGTH: 256,
        TiffImagePlugin.TILEOFFSETS: 8,
        TiffImagePlugin.TILEBYTECOUNTS: len(pixels),
    }
    (tmp_path / "a.tiff").write_bytes(tiff(WIDTH, HEIGHT, place, pixels))
    expected = np.repeat(gradient()[:, :, :1], 3, axis=2)
    assert difference(read_photo(tmp_path / "a.tiff"), expected) == 0


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"no file .*absent\.jpg"):
        read_photo(tmp_path / "absent.jpg")
    with pytest.raises(UnreadableImageError):
        read_photo(str(tmp_path))
    with pytest.raises(UnreadableImageError):
        read_photo(None)  # type: ignore[arg-type]


def test_all_errors_are_photo_errors() -> None:
    for error in (UnreadableImageError, ImageTooSmallError, ImageTooLargeError):
        assert issubclass(error, PhotoError)
    assert issubclass(PhotoError, ValueError)
