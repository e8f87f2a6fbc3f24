"""Labelled pictures: every caption is whole, in its own place, and large enough to read."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fader_demo import sheets
from fader_demo.attributes import Attribute

LONG = "Mouth slightly open, seen from the side, at -0.25 of the way"
SIZES = [128, 192, 512]


def pictures(count: int, size: int) -> list[Image.Image]:
    colours = ("red", "green", "blue", "orange", "purple")
    return [Image.new("RGB", (size, size), colour) for colour in colours[:count]]


def inked(part: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(part.convert("L")) < 128


def framed_by_white(part: Image.Image) -> bool:
    """Whether nothing written reaches the edge, where it would be cut off."""
    ink = inked(part)
    return ink.any() and not (ink[0].any() or ink[-1].any() or ink[:, 0].any() or ink[:, -1].any())


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every line of text that is drawn, and its height in pixels."""
    lines: list[tuple[str, int]] = []
    draw = ImageDraw.ImageDraw.text

    def noted(self: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, **how: object) -> None:
        font = how["font"]
        assert isinstance(font, ImageFont.FreeTypeFont)
        lines.append((text, font.size))
        draw(self, xy, text, **how)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    return lines


def test_values_are_written_with_their_attribute_or_alone() -> None:
    age = Attribute("Age", "continuous", range=(20, 70), slider=(0, 90), unit="years")
    hair = Attribute("Hair", "categorical", choices=("black", "dark blond"))
    assert sheets.caption(Attribute("Blond_Hair"), 0.5) == "Blond Hair 0.5"
    assert sheets.caption(age, 30.004) == "Age 30 years"
    assert sheets.caption(hair, 1.0) == "Hair: dark blond"
    assert sheets.value_caption(Attribute("Smiling"), -0.25) == "-0.25"
    assert sheets.value_caption(age, 30.0) == "30 years"
    assert sheets.value_caption(hair, 0.0) == "black"


@pytest.mark.parametrize("size", SIZES)
def test_a_row_shows_its_pictures_with_whole_captions_beneath(
    size: int, written: list[tuple[str, int]]
) -> None:
    shown = pictures(3, size)
    sheet = sheets.row(shown, ["Smiling 0.5", LONG, "Hair: brown"])
    assert sheet.width == 3 * size
    for i, picture in enumerate(shown):
        left = i * size
        assert np.array_equal(sheet.crop((left, 0, left + size, size)), picture)
        assert framed_by_white(sheet.crop((left, size, left + size, sheet.height)))
    assert " ".join(text for text, _ in written) == f"Smiling 0.5 {LONG} Hair: brown"
    assert all(points >= max(12, size // 16) for _, points in written)


def test_a_word_wider_than_its_picture_is_set_smaller() -> None:
    sheet = sheets.row(pictures(2, 128), ["Extraordinarily_long_name_of_an_attribute", "Short"])
    for left in (0, 128):
        assert framed_by_white(sheet.crop((left, 128, left + 128, sheet.height)))


@pytest.mark.parametrize("size", SIZES)
def test_a_grid_has_its_pictures_at_the_right_and_both_axes_labelled(
    size: int, written: list[tuple[str, int]]
) -> None:
    rows = [pictures(3, size), pictures(3, size)[::-1], pictures(3, size)]
    sheet = sheets.grid(rows, "Age", ["20 years", LONG, "70 years"], "Hair", ["0", LONG, "0.25"])
    left, top = sheet.width - 3 * size, sheet.height - 3 * size
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            corner = left + x * size, top + y * size
            part = sheet.crop((*corner, corner[0] + size, corner[1] + size))
            assert np.array_equal(part, picture)
    assert not inked(sheet.crop((0, 0, left, top))).any()
    for i in range(3):
        start, end = i * size, (i + 1) * size
        assert framed_by_white(sheet.crop((left + start, 0, left + end, top)))
        assert framed_by_white(sheet.crop((0, top + start, left, top + end)))
    words = " ".join(text for text, _ in written)
    assert words == f"Hair Age 0 {LONG} 0.25 20 years {LONG} 70 years"
    assert all(points >= max(12, size // 16) for _, points in written)


@pytest.mark.parametrize("size", SIZES)
def test_a_long_title_stays_beside_a_small_grid(size: int) -> None:
    sheet = sheets.grid([pictures(1, size)], LONG, ["0"], LONG, ["1"])
    left, top = sheet.width - size, sheet.height - size
    assert framed_by_white(sheet.crop((left, 0, sheet.width, top)))
    assert framed_by_white(sheet.crop((0, top, left, sheet.height)))


def test_the_title_of_the_rows_reads_upwards() -> None:
    sheet = sheets.grid([pictures(1, 128)], "Illi", ["0"], "Age", ["1"])
    left, top = sheet.width - 128, sheet.height - 128
    columns = np.flatnonzero(inked(sheet.crop((0, top, left // 2, sheet.height))).any(axis=0))
    rows = np.flatnonzero(inked(sheet.crop((0, top, left // 2, sheet.height))).any(axis=1))
    assert np.ptp(rows) > np.ptp(columns)
