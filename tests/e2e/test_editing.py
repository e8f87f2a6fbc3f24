"""Moving faders, and what the pictures show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect
from visitor import NewVisitor, Visitor, box_in, distance

from fader_demo import Editor, Face
from fader_demo.ui.pictures import LIVE_SIDE


@pytest.fixture(scope="module")
def editing(new_visitor: NewVisitor, portrait: Path) -> Visitor:
    visitor = new_visitor()
    visitor.open_photo(portrait)
    return visitor


@pytest.fixture
def at_portrait(editing: Visitor) -> Visitor:
    """Somebody who has opened the portrait, and has every slider at its start."""
    editing.reset_all()
    return editing


def preview(editor: Editor, face: Face, values: dict[str, float]) -> Image.Image:
    return editor.paste(face, values, max_side=LIVE_SIDE)


def test_the_page_begins_with_an_example_that_moves(new_visitor: NewVisitor) -> None:
    visitor = new_visitor(still=False)
    visitor.wait_until(lambda: visitor.pictures_drawn() > 3)
    visitor.wait_until(visitor.is_untouched)
    assert visitor.fragment() == ""
    expect(visitor.page.get_by_role("button", name="Undo")).to_be_disabled()


def test_a_hand_ends_what_the_page_shows_by_itself(new_visitor: NewVisitor) -> None:
    visitor = new_visitor(still=False)
    value = visitor.drag("Eyeglasses", visitor.farther_end("Eyeglasses"))
    visitor.page.wait_for_timeout(4000)
    assert visitor.fragment() == f"Eyeglasses={value:g}"


def _click(slider: Locator) -> None:
    slider.click(position={"x": slider.evaluate("e => e.clientWidth") / 3, "y": 5})


def _tell(slider: Locator) -> None:
    """As an assistive technology does: no pointer, no key."""
    slider.fill("0.4")


@pytest.mark.parametrize("set_slider", [_click, _tell])
def test_a_slider_that_moves_by_itself_is_set(
    new_visitor: NewVisitor, set_slider: Callable[[Locator], None]
) -> None:
    visitor = new_visitor(still=False)
    visitor.wait_until(lambda: visitor.pictures_drawn() > 1)
    set_slider(visitor.slider("Smiling"))
    value = visitor.value("Smiling")
    visitor.page.wait_for_timeout(4000)
    assert visitor.fragment() == f"Smiling={value:g}"
    assert visitor.value("Smiling") == value


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


def test_page_and_end_keys_take_large_steps(at_portrait: Visitor, face: Face) -> None:
    slider = at_portrait.slider("Smiling")
    slider.focus()
    at_portrait.page.keyboard.press("Home")
    assert at_portrait.value("Smiling") == float(slider.get_attribute("min") or "nan")
    at_portrait.page.keyboard.press("PageUp")
    larger = float(slider.get_attribute("min") or "nan") + 0.25
    assert at_portrait.value("Smiling") == round(larger, 2)
    at_portrait.page.keyboard.press("End")
    assert at_portrait.value("Smiling") == float(slider.get_attribute("max") or "nan")


def test_less_detail_is_drawn_by_the_decoder(
    at_portrait: Visitor, editor: Editor, face: Face
) -> None:
    value = at_portrait.drag("Smiling", at_portrait.farther_end("Smiling"))
    detail = at_portrait.drag("detail", 0)
    assert detail == 0
    at_portrait.sees(editor.paste(face, {"Smiling": value}, LIVE_SIDE, detail=0))
    at_portrait.page.get_by_role("button", name="Reset detail").click()
    at_portrait.sees(preview(editor, face, {"Smiling": value}))


def test_undo_and_redo_go_fifty_steps_and_more(
    at_portrait: Visitor, editor: Editor, face: Face
) -> None:
    page = at_portrait.page
    key = "ArrowLeft" if at_portrait.farther_end("Smiling") == 0 else "ArrowRight"
    start = at_portrait.value("Smiling")
    at_portrait.slider("Smiling").focus()
    back = {"ArrowLeft": "ArrowRight", "ArrowRight": "ArrowLeft"}[key]
    for pressed in (key, back, key):
        for _ in range(20):
            page.keyboard.press(pressed)
    page.keyboard.press(back)
    last = at_portrait.value("Smiling")
    for _ in range(61):
        page.keyboard.press("Control+z")
    assert at_portrait.value("Smiling") == start
    at_portrait.wait_until(at_portrait.is_untouched)
    page.get_by_role("button", name="Redo").click()
    assert at_portrait.value("Smiling") != start
    for _ in range(60):
        page.keyboard.press("Control+Shift+z")
    assert at_portrait.value("Smiling") == last
    expect(page.get_by_role("button", name="Redo")).to_be_disabled()
    at_portrait.sees(preview(editor, face, {"Smiling": last}))


def test_a_preset_and_a_surprise_are_edits_that_can_be_undone(at_portrait: Visitor) -> None:
    page = at_portrait.page
    presets = page.get_by_role("combobox", name="Presets")
    if presets.count():  # a model may come without any
        presets.select_option(index=1)
        at_portrait.wait_until(lambda: not at_portrait.is_untouched())
        page.get_by_role("button", name="Undo").click()
        at_portrait.wait_until(at_portrait.is_untouched)
    page.get_by_role("button", name="Surprise me").click()
    at_portrait.wait_until(lambda: not at_portrait.is_untouched())
    for row in page.locator(".fader.moved").all():
        low, high = (float(row.get_attribute(f"data-{end}") or "nan") for end in ("low", "high"))
        assert low - 0.01 <= float(row.locator(".control").input_value()) <= high + 0.01


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
