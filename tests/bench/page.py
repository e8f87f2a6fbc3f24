"""What a hand at the page feels: from the move to the picture, in Chromium.

    python -m tests.bench.page

Times are the browser's own. A picture is on screen when it is decoded and the frame after that has
begun. Beside the app, in turns, the same edit as Gradio is plainly used (``plain``).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from skimage import data

from tests.bench.plain import MOVED
from tests.bench.served import served
from tests.bench.speed import MEGAPIXELS_12
from tests.bench.table import Row, show, spread

Times = dict[str, float]
"""Of a move: milliseconds of the page's clock, and those of drawing."""

TURNS, MOVES = 4, 20
"""Moves one by one, and between them a drag, so often each."""
DRAG_SECONDS = 5
VISITS = 3


@dataclass(frozen=True)
class Subject:
    """A page to measure: where its slider and its picture are, and what asks for a picture."""

    name: str
    control: str
    picture: str
    route: str


OURS = Subject(
    "page", f"#slider-{MOVED} .control", "#result img.edited", "/gradio_api/component_server"
)
PLAIN = Subject("plain app", "#slider input[type=range]", "#result img", "/gradio_api/queue/join")


def measure() -> Iterator[Row]:
    with (
        served() as ours,
        served("-m", "tests.bench.plain") as plain,
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as folder,
    ):
        browser = launch(playwright)
        at = {OURS: ours.address, PLAIN: plain.address}
        yield from moves({each.name: visit(browser, each, where) for each, where in at.items()})
        yield from first_visits(browser, ours.address)
        yield from large_photo(browser, ours.address, Path(folder) / "12-megapixels.jpg")
        browser.close()


def launch(playwright: Any) -> Browser:
    names = ("chromium", "chromium-browser", "google-chrome")
    installed = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    return playwright.chromium.launch(executable_path=installed, args=flags)


def visit(browser: Browser, subject: Subject, address: str) -> Page:
    """A new visitor's page that measures itself (page.js), on its way to the address."""
    page = browser.new_context(reduced_motion="reduce").new_page()
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    page.add_init_script(f"const about = {json.dumps(vars(subject))};\n{script}")
    page.goto(address, wait_until="commit")
    return page


def moves(pages: Mapping[str, Page]) -> Iterator[Row]:
    """Moves one by one, and drags; and of the first page's moves, where their time goes."""
    times: dict[str, list[Times]] = {name: [] for name in pages}
    drags: dict[str, list[Drag]] = {name: [] for name in pages}
    for page in pages.values():
        page.evaluate("ready()")
    for _ in range(TURNS):
        for name, page in pages.items():
            page.evaluate("atRest()")
            places = [number % 10 / 10 for number in range(7, 7 * MOVES, 7)]
            times[name] += [page.evaluate("move", place) for place in places]
            drags[name].append(Drag(**page.evaluate("drag", DRAG_SECONDS)))
    for name in pages:
        whole = [each["painted"] - each["at"] for each in times[name]]
        yield spread(f"{name}: from a move to its picture", whole, 95)
        lags = [lag for drag in drags[name] for lag in drag.lags]
        yield {
            "figure": f"{name}: behind the hand in a drag",
            "moves/s": sum(len(drag.moves) for drag in drags[name]) / DRAG_SECONDS / TURNS,
            "pictures/s": len(lags) / DRAG_SECONDS / TURNS,
            "median ms": median(lags),
            "worst ms": max(lags),
        }
    yield from profile(times[OURS.name])


def profile(times: Sequence[Times]) -> Iterator[Row]:
    """Where the milliseconds of a move go; medians, so that they add up but nearly."""
    parts: dict[str, Callable[[Times], float]] = {
        "the event, until the request is sent": lambda t: t["sent"] - t["at"],
        "the server draws": lambda t: t["drawing"],
        "transport and waiting": lambda t: t["responseStart"] - t["sent"] - t["drawing"],
        "the answer arrives": lambda t: t["responseEnd"] - t["responseStart"],
        "the browser decodes the JPEG": lambda t: t["decoded"] - t["responseEnd"],
        "until the next frame": lambda t: t["painted"] - t["decoded"],
    }
    for name, part in parts.items():
        yield {"figure": f"of a move at the page: {name}", "median ms": median(map(part, times))}


def first_visits(browser: Browser, address: str) -> Iterator[Row]:
    """From the address to the example, and to the first answer of a slider; nothing cached."""
    visible, answered = [], []
    for _ in range(VISITS):
        page = visit(browser, OURS, address)
        visible.append(page.evaluate("ready()")["visible"])
        answered.append(page.evaluate("move", 0.5)["painted"])
        page.context.close()
    yield {"figure": "first visit: the example shows", "median ms": median(visible)}
    yield {"figure": "first visit: a slider answers", "median ms": median(answered)}


def large_photo(browser: Browser, address: str, photo: Path) -> Iterator[Row]:
    """From the choice of a photo of 12 megapixels to the first answer of a slider."""
    Image.fromarray(data.astronaut()).resize(MEGAPIXELS_12).save(photo, quality=90)
    answered = []
    for _ in range(VISITS):
        page = visit(browser, OURS, address)
        page.evaluate("ready()")
        page.evaluate("atRest()")
        page.set_input_files("#photo input[type=file]", photo)
        chosen = page.evaluate("opened()")
        answered.append(page.evaluate("move", 0.5)["painted"] - chosen)
        page.context.close()
    yield {
        "figure": "upload of 12 megapixels: a slider answers",
        "median ms": median(answered),
    }


@dataclass(frozen=True)
class Drag:
    """Times of a drag in milliseconds: of its moves, and of the pictures that came on screen."""

    moves: list[float]
    pictures: list[dict[str, float]]

    @property
    def lags(self) -> list[float]:
        """How long the screen had been behind the hand whenever it changed.

        That is the time since the first move that the picture before did not show yet.
        """
        lags: list[float] = []
        missing = 0
        for picture in self.pictures:
            if missing < len(self.moves):
                lags.append(picture["at"] - self.moves[missing])
            missing = bisect_right(self.moves, picture["asked"])
        return lags


if __name__ == "__main__":
    show(measure())
