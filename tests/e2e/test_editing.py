"""Moving faders, and what the pictures show."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect
from visitor import NewVisitor, Visitor, box_in, distance

from fader_demo import Editor, Face
from fader_demo.ui.pictures import LIVE_SIDE
from fader_demo.ui.strengths import strengths


@pytest.fixture(scope="module")
def face(editor: Editor, portrait: Path) -> Face:
    return editor.open(portrait)


@pytest.fixture(scope="module")
def editing(new_visitor: NewVisitor, portrait: Path) -> Visitor:
    visitor = new_visitor()
    visitor.open_photo(portrait)
    return visitor


@pytest.fixture
def at_portrait(editing: Visitor) -> Visitor:
    """Somebody who has opened the portrait, and has every slider at its start."""
    if not editing.is_untouched():
        editing.reset_all()
    return editing


def preview(editor: Editor, face: Face, values: dict[str, float]) -> Image.Image:
    return editor.paste(face, values, max_side=LIVE_SIDE)


def test_sliders_start_where_the_face_is(at_portrait: Visitor, face: Face) -> None:
    assert at_portrait.value("Smiling") == pytest.approx(face.values["Smiling"], abs=0.006)
    started = at_portrait.page.locator("#slider-Smiling .start")
    expect(started).to_have_text(f"started at {round(face.values['Smiling'] + 1e-9, 2):g}")


def test_a_drag_shows_the_face_at_its_last_value(
    at_portrait: Visitor, editor: Editor, face: Face
) -> None:
    value = at_portrait.drag("Smiling", at_portrait.farther_end("Smiling"))
    at_portrait.sees(preview(editor, face, {"Smiling": value}))
    unedited, shown = at_portrait.shown("original"), at_portrait.shown()
    assert distance(shown, unedited, box_in(shown, face, 0)) > 2


def test_arrow_keys_move_a_slider(at_portrait: Visitor, editor: Editor, face: Face) -> None:
    key = "ArrowLeft" if at_portrait.farther_end("Smiling") == 0 else "ArrowRight"
    before = at_portrait.value("Smiling")
    at_portrait.slider("Smiling").focus()
    for _ in range(10):
        at_portrait.page.keyboard.press(key)
    value = at_portrait.value("Smiling")
    assert abs(value - before) == pytest.approx(0.5, abs=0.011)
    at_portrait.wait_until(lambda: not at_portrait.is_untouched())
    at_portrait.sees(preview(editor, face, {"Smiling": value}))


def test_every_reset_brings_the_original_back(at_portrait: Visitor) -> None:
    button = at_portrait.page.get_by_role("button", name="Reset Smiling")
    for undo in (button.click, at_portrait.slider("Smiling").dblclick):
        at_portrait.drag("Smiling", at_portrait.farther_end("Smiling"))
        at_portrait.wait_until(lambda: not at_portrait.is_untouched())
        undo()
        at_portrait.wait_until(at_portrait.is_untouched)
        expect(button).to_be_disabled()


def test_reset_all_moves_every_slider(at_portrait: Visitor, face: Face) -> None:
    for name in ("Smiling", "Eyeglasses"):
        at_portrait.drag(name, at_portrait.farther_end(name))
    at_portrait.wait_until(lambda: not at_portrait.is_untouched())
    at_portrait.reset_all()
    for name in ("Smiling", "Eyeglasses"):
        assert at_portrait.value(name) == pytest.approx(face.values[name], abs=0.006)


def test_the_strip_follows_the_other_sliders(
    at_portrait: Visitor, editor: Editor, face: Face
) -> None:
    page = at_portrait.page
    page.get_by_role("combobox", name="One attribute").click()
    page.get_by_role("option", name="Smiling").click()
    steps = strengths(editor.schema["Smiling"])
    at_portrait.sees(editor.strip(face, "Smiling", steps), "strip")
    before = at_portrait.source("strip")
    value = at_portrait.drag("Eyeglasses", at_portrait.farther_end("Eyeglasses"))
    at_portrait.wait_until(lambda: at_portrait.source("strip") != before)
    at_portrait.sees(editor.strip(face, "Smiling", steps, {"Eyeglasses": value}), "strip")


def test_the_download_is_the_whole_photo(
    at_portrait: Visitor, editor: Editor, face: Face, tmp_path: Path
) -> None:
    value = at_portrait.drag("Smiling", at_portrait.farther_end("Smiling"))
    with at_portrait.page.expect_download() as download:
        at_portrait.page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "portrait-edited.png"
    download.value.save_as(tmp_path / "portrait.png")
    with Image.open(tmp_path / "portrait.png") as saved:
        assert saved.format == "PNG"
        assert not saved.getexif()
        assert saved.size == face.photo.size
        assert distance(saved, editor.paste(face, {"Smiling": value})) == 0
