"""Where things are, on a desk and on a phone."""

from __future__ import annotations

from typing import TypedDict

from playwright.sync_api import Locator, expect
from visitor import NewVisitor, Visitor


class Place(TypedDict):
    x: float
    y: float
    width: float
    height: float


def place(thing: Locator) -> Place:
    box = thing.bounding_box()
    assert box
    return Place(x=box["x"], y=box["y"], width=box["width"], height=box["height"])


def is_whole(thing: Locator, height: int) -> bool:
    box = place(thing)
    return box["y"] >= 0 and box["y"] + box["height"] <= height


def test_on_a_desk_pictures_and_sliders_are_in_view_together(visitor: Visitor) -> None:
    page = visitor.page
    original, result = page.locator("#original img"), page.locator("#result .edited")
    sliders = page.get_by_role("region", name="Attributes")
    assert is_whole(original, 800) and is_whole(result, 800)
    assert is_whole(page.get_by_role("slider").first, 800)
    assert place(original)["width"] < place(result)["width"]
    assert place(original)["x"] < place(result)["x"] < place(sliders)["x"]


def test_on_a_phone_the_picture_stays_while_the_sliders_scroll(new_visitor: NewVisitor) -> None:
    page = new_visitor(390, 844).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    last, result = page.locator(".fader").last, page.locator("#result .edited")
    page.evaluate("window.scrollTo(0, document.querySelector('#download').offsetTop - 700)")
    expect(last).to_be_in_viewport(ratio=1)
    assert is_whole(result, 844) and is_whole(last, 844)
    assert place(result)["y"] + place(result)["height"] <= place(last)["y"]


def test_everything_that_can_be_operated_has_a_name(visitor: Visitor) -> None:
    unnamed = visitor.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, img")]
          .filter((e) => e.offsetParent && !e.ariaLabel && !e.labels?.length
                         && !e.textContent.trim() && e.getAttribute("alt") === null)
          .map((e) => e.outerHTML.slice(0, 120))"""
    )
    assert unnamed == []
