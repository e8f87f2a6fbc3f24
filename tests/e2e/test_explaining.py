"""What the page says of an edit and of the model, and choosing another model."""

from __future__ import annotations

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from visitor import Visitor

from fader_demo import Editor
from fader_demo.ui.pictures import LIVE_SIDE

TABS = ["Strengths", "Grid", "Photos", "Changes", "Clip", "Share", "Model"]


def test_what_changed_is_told(visitor: Visitor, editor: Editor) -> None:
    visitor.open_tab("Changes")
    panel = visitor.page.locator("#changes")
    expect(panel).to_contain_text("Nothing")
    visitor.drag("Smiling", visitor.farther_end("Smiling"))
    expect(panel).to_contain_text(editor.schema["Smiling"].label)
    expect(panel).not_to_contain_text("Nothing has been")


def test_the_models_card_is_one_click_away(visitor: Visitor, editor: Editor) -> None:
    visitor.open_tab("Model")
    about = visitor.page.locator("#about")
    for attribute in editor.schema:
        expect(about).to_contain_text(attribute.label)
    expect(about).to_contain_text("still in the latent")


def test_times_are_told(visitor: Visitor) -> None:
    visitor.drag("Smiling", visitor.farther_end("Smiling"))
    expect(visitor.page.locator(".times")).to_contain_text("round trip")


def test_another_model_keeps_the_photo_the_shared_sliders_and_the_pins(
    visitor: Visitor, portrait: Path, tiny_model_folder: Path
) -> None:
    visitor.open_photo(portrait)
    value = visitor.drag("Smiling", visitor.farther_end("Smiling"))
    visitor.wait_until(lambda: not visitor.is_untouched())
    visitor.page.get_by_role("button", name="Pin this edit").click()
    original = visitor.source("original")
    visitor.page.get_by_role("combobox", name="Model").click()
    visitor.page.locator('li[role="option"][aria-label="tiny"]').click()
    other = Editor.from_pretrained(tiny_model_folder)
    expect(visitor.page.locator("#slider-Age")).to_be_visible()
    assert visitor.source("original") == original
    assert visitor.value("Smiling") == value
    visitor.sees(other.paste(other.open(portrait), {"Smiling": value}, LIVE_SIDE))
    expect(visitor.page.get_by_role("region", name="Pinned edits")).to_contain_text("made with")


def test_a_checker_of_accessibility_finds_nothing_serious(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="Pin this edit").click()
    # What a tab holds is the same on a phone; what is around it is laid out anew.
    for width, height, tabs in ((1280, 800, TABS), (390, 844, TABS[:1])):
        visitor.page.set_viewport_size({"width": width, "height": height})
        for tab in tabs:
            visitor.open_tab(tab)
            part = "#panels" if tab != TABS[0] else None  # the rest is the same on every tab
            found = Axe().run(visitor.page, context=part).response["violations"]
            serious = [
                (tab, v["id"], [node["html"][:120] for node in v["nodes"]])
                for v in found
                if v["impact"] in ("serious", "critical")
            ]
            assert serious == []
