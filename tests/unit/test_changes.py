"""The panel that tells what an edit changed: order, marks, bars, words, and no markup let in."""

from __future__ import annotations

import re

from fader_demo.attributes import Attribute
from fader_demo.readings import Explanation, Reading
from fader_demo.ui.changes import changes_panel, shown

SMILING = Reading(Attribute("Smiling"), 0.1, 3.0, None, 2.0)
MOUTH = Reading(Attribute("Mouth_open"), -1.0, -0.4, None, None)
YOUNG = Reading(Attribute("Young"), 0.5, 0.6, None, None)
HAIR = Reading(
    Attribute("Hair", kind="categorical", choices=("black", "brown")), 0, 1, (0.25, 0.75), 1.0
)


def test_before_any_edit_it_says_that_nothing_has_changed() -> None:
    assert "Nothing has been changed" in changes_panel().value
    assert shown(Explanation((YOUNG,), 1.0)) == changes_panel().value


def test_every_reading_is_there_in_words() -> None:
    rows = _rows(shown(Explanation((SMILING, HAIR, MOUTH, YOUNG), 0.5)))
    assert [_words(row) for row in rows] == [
        "Smiling moved to 2.0 0.1 3.0",
        "Hair moved to brown brown 25% likely before, 75% after black brown",
        "Mouth open side effect -1.0 -0.4",
        "Young 0.5 0.6",
    ]
    assert ['class="moved"' in row for row in rows] == [True, True, False, False]


def test_bars_go_from_reading_to_reading_on_the_sliders_scale() -> None:
    rows = _rows(shown(Explanation((SMILING, HAIR, MOUTH), 0.5)))
    bars = [re.findall(r"--\w+: ([\d.]+)", row) for row in rows]
    assert bars == [
        ["0.367", "1.000"],  # read beyond the slider's end, drawn at it
        ["0.250", "0.750"],  # of a choice, its probabilities
        ["0.000", "0.200"],
    ]


def test_side_effects_and_what_is_left_are_told() -> None:
    text = _words(shown(Explanation((SMILING, MOUTH), 0.724)))
    assert "Moving Smiling also raised Mouth open (+0.6)." in text
    assert "72% of the face unchanged" in text
    assert "No other attribute changed" in shown(Explanation((SMILING, YOUNG), 1.0))


def test_a_models_texts_are_never_markup() -> None:
    evil = "<img src=x onerror=alert(1)>"
    attribute = Attribute("E", kind="categorical", label=evil, choices=(evil, f"{evil}2"))
    asked = Reading(attribute, 0, 1, (0.1, 0.9), 1.0)
    unasked = Reading(attribute, 0, 1, (0.1, 0.9), None)
    years = Attribute("A", kind="continuous", range=(0, 1), default=0, unit=evil)
    page = shown(Explanation((asked, unasked, Reading(years, 0, 1, None, None)), 0.5))
    assert "<img" not in page
    assert "&lt;img" in page


def _rows(page: str) -> list[str]:
    return re.findall(r"<tr.*?</tr>", page.split("<tbody>")[1], re.DOTALL)


def _words(markup: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", markup).split())
