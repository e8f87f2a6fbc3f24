"""Labelled pictures in one image: a row with captions beneath, or a grid with its two axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from fader_demo.attributes import Attribute

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SMALLEST = 12  # points, also of a small picture
_POINTS = 1 / 14  # of a picture's side
_FILLED = 0.94  # share of the width that a line of text may take
_LEADING = 1.2  # from one line of text to the next, in font sizes
_PADDING = 0.4  # around a block of text, in font sizes


def caption(attribute: Attribute, value: float) -> str:
    """A value with its attribute: "Smiling 0.5", "Age 40 years", "Hair: brown"."""
    colon = ":" if attribute.kind == "categorical" else ""
    return f"{attribute.label}{colon} {value_caption(attribute, value)}"


def value_caption(attribute: Attribute, value: float) -> str:
    """A value alone, for an axis that names its attribute: "0.5", "40 years", "brown"."""
    if attribute.kind == "categorical":
        return attribute.choices[int(value)]
    return f"{round(value, 2):g} {attribute.unit}".rstrip()


def row(pictures: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    """Square pictures of one size side by side, each with its caption beneath."""
    size = pictures[0].width
    labels = _labels(captions, size, _points(size))
    sheet = Image.new("RGB", (size * len(pictures), size + labels[0].height), "white")
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        sheet.paste(picture, (i * size, 0))
        sheet.paste(label, (i * size, size))
    return sheet


def grid(
    pictures: Sequence[Sequence[Image.Image]],
    row_title: str,
    row_captions: Sequence[str],
    column_title: str,
    column_captions: Sequence[str],
) -> Image.Image:
    """Rows of square pictures of one size; the pictures are at the right and at the bottom.

    Above them are the columns' title and captions. At the left are those of the rows: the title
    turned to read upwards, the captions upright.
    """
    size = pictures[0][0].width
    points = _points(size)
    (across,) = _labels([column_title], size * len(column_captions), points)
    (upwards,) = _labels([row_title], size * len(row_captions), points)
    down = upwards.transpose(Image.Transpose.ROTATE_90)
    above = _labels(column_captions, size, points)
    beside = _labels(row_captions, _narrowest(row_captions, size, points), points)

    left, top = down.width + beside[0].width, across.height + above[0].height
    width, height = left + size * len(above), top + size * len(beside)
    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(across, (left, 0))
    sheet.paste(down, (0, top))
    for column, label in enumerate(above):
        sheet.paste(label, (left + column * size, across.height))
    for line, (label, drawn) in enumerate(zip(beside, pictures, strict=True)):
        y = top + line * size
        sheet.paste(label, (down.width, y + (size - label.height) // 2))
        for column, picture in enumerate(drawn):
            sheet.paste(picture, (left + column * size, y))
    return sheet


def _points(size: int) -> int:
    """A font size in pixels that reads well beside pictures of this side."""
    return max(_SMALLEST, round(size * _POINTS))


def _labels(texts: Sequence[str], width: int, points: int) -> list[Image.Image]:
    """Texts in the middle of white boxes of one size, ``width`` pixels wide.

    Long texts take several lines. All are set smaller if a single word would not fit a line.
    """
    room = int(width * _FILLED)
    points = max(1, min(points, points * room // max(1, _widest_word(texts, points))))
    font = ImageFont.load_default(points)
    wrapped = [_wrapped(text, font, room) for text in texts]
    lines = max(len(text) for text in wrapped)
    height = round(points * (lines * _LEADING + 2 * _PADDING))
    return [_label(text, font, points, (width, height)) for text in wrapped]


def _label(lines: Sequence[str], font: _Font, points: int, size: tuple[int, int]) -> Image.Image:
    label = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(label)
    width, height = size
    first = height / 2 - (len(lines) - 1) * points * _LEADING / 2
    for number, line in enumerate(lines):
        middle = (width / 2, first + number * points * _LEADING)
        draw.text(middle, line, fill="black", font=font, anchor="mm")
    return label


def _wrapped(text: str, font: _Font, room: int) -> list[str]:
    """The text in lines of at most ``room`` pixels, broken between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _widest_word(texts: Sequence[str], points: int) -> int:
    """Pixels."""
    font = ImageFont.load_default(points)
    return max(
        (round(font.getlength(word) + 0.5) for text in texts for word in text.split()), default=0
    )


def _narrowest(texts: Sequence[str], most: int, points: int) -> int:
    """The least width of labels that hold these texts in one line each, and ``most`` if more."""
    font = ImageFont.load_default(points)
    longest = max(font.getlength(text) for text in texts)
    return min(most, round(longest / _FILLED + 2 * _PADDING * points))
