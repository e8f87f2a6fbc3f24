"""Strip, grid, pins, wipe, and several photos under the same sliders."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Locator, expect
from visitor import NewVisitor, Visitor, decoded, distance

from fader_demo import Editor, Face
from fader_demo.ui.answers import SMALL_SIDE
from fader_demo.ui.pictures import LIVE_SIDE
from fader_demo.ui.strip import strengths


@pytest.fixture(scope="session")
def mirrored(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "mirrored.png"
    with Image.open(portrait) as image:
        ImageOps.mirror(image).save(path)
    return path


def choose(visitor: Visitor, dropdown: str, option: str) -> None:
    combobox = visitor.page.get_by_role("combobox", name=dropdown)
    combobox.click()
    options = visitor.page.locator(f"#{combobox.get_attribute('aria-controls')}")
    options.locator(f'[role="option"][aria-label="{option}"]').click()


def test_the_strip_shows_what_is_asked_for_and_follows_the_other_sliders(
    at_portrait: Visitor, editor: Editor, face: Face
) -> None:
    schema = editor.schema
    first = next(iter(schema)).name
    steps = strengths(schema[first], 5)
    at_portrait.sees(editor.strip(face, first, steps, size=SMALL_SIDE), "strip")
    panel = at_portrait.page
    panel.get_by_role("spinbutton", name="number input for Strengths").fill("3")
    panel.get_by_role("spinbutton", name="From").fill("0")
    panel.get_by_role("spinbutton", name="To").fill("1")
    panel.get_by_role("spinbutton", name="To").press("Tab")
    panel.get_by_role("combobox", name="Attribute").focus()
    panel.get_by_role("combobox", name="Attribute").press("Tab")  # which chooses nothing
    asked = [0.0, 0.5, 1.0]
    at_portrait.sees(editor.strip(face, first, asked, size=SMALL_SIDE), "strip")
    value = at_portrait.drag("Eyeglasses", at_portrait.farther_end("Eyeglasses"))
    moved = editor.strip(face, first, asked, {"Eyeglasses": value}, SMALL_SIDE)
    at_portrait.sees(moved, "strip")


def test_the_strip_takes_any_attribute(at_portrait: Visitor, editor: Editor, face: Face) -> None:
    choose(at_portrait, "Attribute", editor.schema["Eyeglasses"].label)
    steps = strengths(editor.schema["Eyeglasses"], 5)
    at_portrait.sees(editor.strip(face, "Eyeglasses", steps, size=SMALL_SIDE), "strip")
    with at_portrait.page.expect_download() as download:
        at_portrait.page.get_by_role("button", name="Save the strip").click()
    with Image.open(download.value.path()) as saved:
        assert saved.format == "PNG" and saved.width == 5 * 512


def test_the_grid_shows_two_attributes(at_portrait: Visitor, editor: Editor, face: Face) -> None:
    schema = editor.schema
    at_portrait.open_tab("Grid")
    choose(at_portrait, "Down", schema["Eyeglasses"].label)
    choose(at_portrait, "Across", schema["Smiling"].label)
    down, across = (strengths(schema[name], 4) for name in ("Eyeglasses", "Smiling"))
    expected = editor.grid(face, "Eyeglasses", down, "Smiling", across, size=SMALL_SIDE // 2)
    at_portrait.sees(expected, "grid")
    with at_portrait.page.expect_download() as download:
        at_portrait.page.get_by_role("button", name="Save the grid").click()
    with Image.open(download.value.path()) as saved:
        assert saved.width > 4 * 256
    choose(at_portrait, "Down", schema["Smiling"].label)
    assert "two different" in at_portrait.toast()


def test_pins_keep_edits_to_return_to(at_portrait: Visitor, editor: Editor, face: Face) -> None:
    page = at_portrait.page
    value = at_portrait.drag("Smiling", at_portrait.farther_end("Smiling"))
    edited = editor.paste(face, {"Smiling": value}, LIVE_SIDE)
    at_portrait.sees(edited)
    page.get_by_role("button", name="Pin this edit").click()
    at_portrait.reset_all()
    page.get_by_role("button", name="Pin this edit").click()
    pins = page.get_by_role("region", name="Pinned edits").get_by_role("listitem")
    expect(pins).to_have_count(2)
    expect(pins.nth(0)).to_contain_text(f"Smiling {value:g}")
    expect(pins.nth(1)).to_contain_text("no edit")
    name = pins.nth(0).get_by_role("textbox", name="Name of the pin")
    name.fill("The one")
    name.press("Tab")
    page.get_by_role("button", name="Return to The one").click()
    assert at_portrait.value("Smiling") == pytest.approx(value, abs=0.006)
    at_portrait.sees(edited)
    page.get_by_role("button", name="Remove The one").click()
    expect(pins).to_have_count(1)


def test_no_more_than_eight_pins(visitor: Visitor) -> None:
    pin = visitor.page.get_by_role("button", name="Pin this edit")
    for _ in range(9):
        pin.click()
    assert "8 edits can be pinned" in visitor.toast()
    expect(visitor.page.get_by_role("button", name="Return to")).to_have_count(8)


def test_holding_shows_the_original(visitor: Visitor) -> None:
    page = visitor.page
    visitor.drag("Smiling", visitor.farther_end("Smiling"))
    visitor.wait_until(lambda: not visitor.is_untouched())
    before, figure = page.locator("#result .before"), page.locator("#result figure")
    expect(before).to_be_hidden()
    box = figure.bounding_box()
    assert box
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    expect(before).to_be_visible()
    assert before.get_attribute("src") == visitor.source("original")
    clip = page.locator("#result .wiped").evaluate("e => getComputedStyle(e).clipPath")
    assert clip in ("inset(0px 0% 0px 0px)", "inset(0px)")
    page.mouse.up()
    expect(before).to_be_hidden()
    page.keyboard.down("o")
    expect(before).to_be_visible()
    page.keyboard.up("o")
    expect(before).to_be_hidden()


def test_a_wipe_shows_the_original_at_the_left(visitor: Visitor) -> None:
    page = visitor.page
    visitor.drag("Eyeglasses", visitor.farther_end("Eyeglasses"))
    visitor.wait_until(lambda: not visitor.is_untouched())
    page.get_by_role("button", name="Wipe").click()
    wipe = page.get_by_role("slider", name="Wipe")
    wipe.fill("100")
    everything = Image.open(_shot(page.locator("#result figure")))
    wipe.fill("0")
    nothing = Image.open(_shot(page.locator("#result figure")))
    wipe.fill("50")
    half = Image.open(_shot(page.locator("#result figure")))
    middle = half.width // 2
    left = (20, 60, middle - 10, half.height - 60)
    right = (middle + 10, 60, half.width - 20, half.height - 60)
    assert distance(half, everything, left) < 0.2 * distance(half, nothing, left)
    assert distance(half, nothing, right) < 0.2 * distance(half, everything, right)


def _shot(thing: Locator) -> io.BytesIO:
    return io.BytesIO(thing.screenshot())


def test_several_photos_stand_under_the_same_sliders(
    visitor: Visitor, editor: Editor, portrait: Path, mirrored: Path, couple: Path
) -> None:
    visitor.choose_files(portrait, mirrored)
    visitor.open_tab("Photos")
    tray = visitor.page.locator("#tray")
    expect(tray.get_by_role("button", name="Edit photo")).to_have_count(2)
    value = visitor.drag("Smiling", visitor.farther_end("Smiling"))
    for index, path in enumerate((portrait, mirrored)):
        expected = editor.render(editor.open(path), {"Smiling": value}, SMALL_SIDE)
        image = tray.locator("img").nth(index)
        visitor.wait_until(
            lambda image=image, expected=expected: (
                distance(decoded(image.get_attribute("src") or ""), expected) < 3
            )
        )
    tray.get_by_role("button", name="Edit photo 2").click()
    visitor.sees(editor.paste(editor.open(mirrored), {"Smiling": value}, LIVE_SIDE))
    visitor.choose_files(couple)
    expect(tray.get_by_role("button", name="Edit photo")).to_have_count(3)
    tray.get_by_role("button", name="Close photo 3").click()
    expect(tray.get_by_role("button", name="Edit photo")).to_have_count(2)
    visitor.choose_files(*[portrait] * 7)
    assert "8 photos" in visitor.toast()


def test_on_a_phone_strip_and_pins_scroll_in_their_own_frames(new_visitor: NewVisitor) -> None:
    visitor = new_visitor(390, 844)
    for _ in range(5):
        visitor.page.get_by_role("button", name="Pin this edit").click()
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390
