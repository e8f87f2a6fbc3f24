"""A real browser in front of the real app: `python app.py`, on a free port, in its own process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright
from running import ROOT, running
from visitor import PATIENCE, NewVisitor, Visitor

from fader_demo import Editor, Face

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


@pytest.fixture(scope="session")
def model_folder(tiny_model_folder: Path) -> Path:
    """The trained model where there is one; the page must work with any."""
    trained = ROOT / "assets" / "faces"
    return trained if (trained / "config.json").is_file() else tiny_model_folder


@pytest.fixture(scope="session")
def editor(model_folder: Path) -> Editor:
    """The same editor as the app's, to tell what the page should show."""
    return Editor.from_pretrained(model_folder)


@pytest.fixture(scope="session")
def address(
    model_folder: Path, tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The running app, with a second model to choose. It must leave no file behind."""
    temporary = tmp_path_factory.mktemp("gradio")
    with running(f"{model_folder},{tiny_model_folder}", temporary) as (address, app):
        yield address
        assert app.poll() is None, f"app.py ended by itself, with {app.returncode}"
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


@pytest.fixture(scope="session")
def chromium(portrait: Path) -> Iterator[Browser]:
    """Chromium, with a camera that sees the astronaut."""
    with sync_playwright() as playwright:
        browser = _launch(playwright, portrait)
        yield browser
        browser.close()


def _launch(playwright: Playwright, seen_by_camera: Path) -> Browser:
    names = ("chromium", "chromium-browser", "google-chrome")
    installed = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    # A film of one frame: what the fake camera takes for MJPEG is JPEGs, one after the other.
    film = seen_by_camera.with_suffix(".mjpeg")
    shutil.copy(seen_by_camera, film)
    flags = [*CHROMIUM_FLAGS, f"--use-file-for-fake-video-capture={film}"]
    return playwright.chromium.launch(executable_path=installed, args=flags)


@pytest.fixture(scope="module")
def new_visitor(chromium: Browser, address: str) -> Iterator[NewVisitor]:
    """Opens the page for somebody new, who shares nothing with the others.

    Whatever a test does, no page may ask another host for anything or log an error.
    """
    visitors: list[Visitor] = []

    def arrive(
        width: int = 1280, height: int = 800, fragment: str = "", still: bool = True
    ) -> Visitor:
        context = _context(chromium, width, height, still)
        visitors.append(Visitor(context.new_page(), address + fragment, still))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        visitor.leave()
    for visitor in visitors:
        visitor.assert_nothing_went_wrong()


@pytest.fixture(scope="session")
def somebodys_browser(chromium: Browser) -> Iterator[BrowserContext]:
    """One that has been to the page before, and so has the page's scripts."""
    context = _context(chromium)
    yield context
    context.close()


@pytest.fixture
def visitor(somebodys_browser: BrowserContext, address: str) -> Iterator[Visitor]:
    """Somebody in a tab of their own. As with ``new_visitor``, nothing may go wrong."""
    visitor = Visitor(somebodys_browser.new_page(), address)
    yield visitor
    visitor.page.close()
    visitor.assert_nothing_went_wrong()


def _context(
    chromium: Browser, width: int = 1280, height: int = 800, still: bool = True
) -> BrowserContext:
    context = chromium.new_context(
        viewport={"width": width, "height": height},
        permissions=["camera", "clipboard-read", "clipboard-write"],
        reduced_motion="reduce" if still else "no-preference",
    )
    context.set_default_timeout(PATIENCE * 1000)
    return context


@pytest.fixture(scope="session")
def portrait(astronaut: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo larger than what the page shows, and with EXIF data."""
    path = tmp_path_factory.mktemp("photos") / "portrait.jpg"
    exif = Image.Exif()
    exif[0x010E] = "taken at home"  # ImageDescription
    photo = astronaut.resize((1024, 1024), Image.Resampling.BICUBIC)
    photo.save(path, quality=95, exif=exif)
    return path


@pytest.fixture(scope="session")
def face(editor: Editor, portrait: Path) -> Face:
    """The portrait's, as the server should have opened it."""
    return editor.open(portrait)


@pytest.fixture
def at_portrait(visitor: Visitor, portrait: Path) -> Visitor:
    """Somebody new who has opened the portrait."""
    visitor.open_photo(portrait)
    return visitor


@pytest.fixture(scope="session")
def couple(astronaut: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of two faces: the larger one at the left, a mirrored one at the right."""
    photo = Image.new("RGB", (960, 512), "gray")
    photo.paste(astronaut, (0, 0))
    photo.paste(ImageOps.mirror(astronaut).resize((420, 420)), (530, 46))
    path = tmp_path_factory.mktemp("photos") / "couple.png"
    photo.save(path)
    return path
