"""Somebody at the page: what a visitor does and sees, in terms of the page and not of its DOM."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
from PIL import Image, ImageChops
from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from fader_demo import Face
from fader_demo.ui.pictures import data_uri

PATIENCE = 60.0
"""Seconds that anything may take; the machine may be busy."""

expect.set_options(timeout=PATIENCE * 1000)

Box = tuple[int, int, int, int]


COUNT_DRAWN = """
document.addEventListener("fader:drawn", (event) => {
  (window.drawnSources ??= new Set()).add(event.detail.source);
});
"""


class Visitor:
    """A browser page on which the example is open and drawn.

    still: whether everything on the page is; else it goes on with showing what it does.
    """

    def __init__(self, page: Page, address: str, still: bool = True) -> None:
        self.page = page
        self.console_errors: list[str] = []
        self.requests_elsewhere: list[str] = []
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.console_errors.append(str(error)))
        page.on("request", lambda request: self._note_request(request.url))
        page.add_init_script(COUNT_DRAWN)
        page.goto(address)
        self.wait_until(lambda: self.times() != "")
        if still:
            self.wait_until(lambda: self.source("strip") != "")

    # Doing

    def open_photo(self, path: Path) -> None:
        """Choose a file, and wait until it is the one that is shown."""
        before = self.source("original")
        self.choose_files(path)
        self.wait_until(lambda: self.source("original") != before)
        self.wait_until(self.is_untouched)

    def choose_files(self, *paths: Path) -> None:
        self.page.set_input_files("#photo input[type=file]", paths)

    def slider(self, name: str) -> Locator:
        return self.page.locator(f"#slider-{name} .control")

    def drag(self, name: str, to: float) -> float:
        """Drag a slider's cap with the mouse to a fraction of its track; where it came to rest."""
        slider = self.slider(name)
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        assert box
        start, width, y = box["x"] + 7, box["width"] - 14, box["y"] + box["height"] / 2
        begin = self._fraction(name)
        self.page.mouse.move(start + begin * width, y)
        self.page.mouse.down()
        self.page.mouse.move(start + to * width, y, steps=10)
        self.page.mouse.up()
        return self.value(name)

    def farther_end(self, name: str) -> float:
        """The end of a slider's track (0 or 1) that is farther from where it stands."""
        return 0.0 if self._fraction(name) > 0.5 else 1.0

    def dismiss_toasts(self) -> None:
        self.page.locator(".toast-close").last.click()
        expect(self.page.locator(".toast-body")).to_have_count(0)

    def reset_all(self) -> None:
        button = self.page.get_by_role("button", name="Reset all")
        if button.is_enabled():
            button.click()
        self.wait_until(self.is_untouched)

    def open_tab(self, name: str) -> None:
        """Also one that a narrow page keeps in a menu."""
        tab = self.page.get_by_role("tab", name=name)
        if not tab.count():
            self.page.get_by_role("button", name="More tabs").click()
            tab = self.page.locator(".overflow-dropdown").get_by_role("button", name=name)
        tab.click()

    def leave(self) -> None:
        self.page.context.close()

    # Seeing

    def source(self, picture: str) -> str:
        """The <img> source of a picture: original, result, strip or grid."""
        return self.page.locator(f"#{picture} img").first.get_attribute("src") or ""

    def shown(self, picture: str = "result") -> Image.Image:
        return decoded(self.source(picture))

    def is_untouched(self) -> bool:
        """Whether the result is, to the byte, the original."""
        return self.source("result") == self.source("original")

    def pictures_drawn(self) -> int:
        """How many different results the page has shown since it was opened."""
        return self.page.evaluate("window.drawnSources?.size ?? 0")

    def times(self) -> str:
        """What the page says of how long the last picture took; nothing before the first."""
        return self.page.locator(".times").inner_text()

    def fragment(self) -> str:
        """What the address says of the edit."""
        return urlparse(self.page.url).fragment

    def value(self, name: str) -> float:
        return float(self.slider(name).input_value())

    def toast(self) -> str:
        message = self.page.locator(".toast-body").last
        expect(message).to_be_visible()
        return message.inner_text()

    def sees(self, expected: Image.Image, picture: str = "result") -> None:
        """Wait until a picture shows what is expected, after the loss that JPEG brings."""
        as_jpeg = decoded(data_uri(expected))
        self.wait_until(lambda: alike(self.shown(picture), as_jpeg))

    def assert_nothing_went_wrong(self) -> None:
        assert self.requests_elsewhere == []
        assert self.console_errors == []

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; the page says {self.said()}"
            self.page.wait_for_timeout(50)

    def said(self) -> list[str]:
        """What the page tells its visitor: of the picture, of the sliders, and in toasts."""
        told = self.page.locator("#result [role=status], .times, #controls .number, .toast-body")
        return told.evaluate_all("all => all.map((one) => one.value ?? one.textContent)")

    def _fraction(self, name: str) -> float:
        slider = self.slider(name)
        low, high = (float(slider.get_attribute(end) or 0) for end in ("min", "max"))
        return (self.value(name) - low) / (high - low)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console_errors.append(message.text)

    def _note_request(self, url: str) -> None:
        if urlparse(url).scheme not in ("data", "blob") and urlparse(url).hostname != "127.0.0.1":
            self.requests_elsewhere.append(url)


NewVisitor = Callable[..., Visitor]
"""Opens the page for somebody new: their window's width and height, "#..." of a link, and whether
they want things still, without which the page begins by showing what it does."""


def decoded(source: str) -> Image.Image:
    encoded = source.partition(",")[2]
    return Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")


def box_in(picture: Image.Image, face: Face, index: int) -> Box:
    """Where a face lies in a picture of its whole photo, whatever the picture's size."""
    scale = picture.width / face.photo.width
    left, top, right, bottom = (round(side * scale) for side in face.boxes[index])
    return left, top, right, bottom


def alike(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures show the same everywhere: an edit of a mouth changes little of a photo,
    and much of one place."""
    if one.size != other.size:
        return False
    blocks = ImageChops.difference(one, other).reduce(16)
    return max(high for _, high in blocks.getextrema()) <= 3


def distance(one: Image.Image, other: Image.Image, box: Box | None = None) -> float:
    """Mean absolute difference in 8-bit levels, within a box if given; infinite between sizes."""
    if one.size != other.size:
        return float("inf")
    if box:
        one, other = one.crop(box), other.crop(box)
    difference = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    return float(np.abs(difference).mean())
