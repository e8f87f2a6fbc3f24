"""When a visitor leaves, the decoder is slow, or it fails. The server runs in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import gradio as gr
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect
from visitor import Visitor

from fader_demo import Editor
from fader_demo.models import Models
from fader_demo.ui.page import CSS, Page
from fader_demo.ui.pictures import LIVE_SIDE
from fader_demo.ui.visit import Visit


@pytest.fixture
def models(model_folder: Path) -> Models:
    return Models({"faces": model_folder})


@pytest.fixture
def editor(models: Models) -> Editor:
    """The server's own editor, to be broken."""
    return models.editor("faces")


@pytest.fixture
def served(
    models: Models, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[gr.Blocks]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setenv("GRADIO_HEARTBEAT_INTERVAL", "0.5")  # seconds until a departure is noticed
    page = Page(models, [portrait]).build()
    page.launch(prevent_thread_lock=True, quiet=True, run_history=False, css_paths=CSS)
    yield page
    page.close()


def photos_held(page: gr.Blocks) -> int:
    visits = page.state_holder.session_data.values()
    return sum(isinstance(value, Visit) for visit in visits for value in visit.state_data.values())


def test_leaving_the_page_lets_the_photo_go(served: gr.Blocks, chromium: Browser) -> None:
    visitors = [Visitor(chromium.new_context().new_page(), served.local_url) for _ in range(2)]
    assert photos_held(served) == 2
    visitors[0].leave()
    visitors[1].wait_until(lambda: photos_held(served) == 1)
    assert len(served.state_holder.session_data) == 1  # where the pictures are that were shown
    visitors[1].leave()


def test_a_slow_decoder_still_ends_at_the_last_value(
    served: gr.Blocks,
    chromium: Browser,
    editor: Editor,
    portrait: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paste_all = editor.paste_all

    def slow_paste_all(*args: Any, **kwargs: Any) -> Iterator[Image.Image]:
        time.sleep(1)  # longer than the last moves of a drag take
        return paste_all(*args, **kwargs)

    visitor = Visitor(chromium.new_context().new_page(), served.local_url)
    with monkeypatch.context() as slow:
        slow.setattr(editor, "paste_all", slow_paste_all)
        value = visitor.drag("Smiling", visitor.farther_end("Smiling"))
        visitor.wait_until(lambda: not visitor.is_untouched())
    visitor.sees(editor.paste(editor.open(portrait), {"Smiling": value}, max_side=LIVE_SIDE))
    visitor.leave()


def test_a_fault_of_ours_shows_no_details(
    served: gr.Blocks, chromium: Browser, editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError("the decoder's secret")

    visitor = Visitor(chromium.new_context().new_page(), served.local_url)
    status = visitor.page.locator("#result").get_by_role("status")
    end = visitor.farther_end("Smiling")
    with monkeypatch.context() as broken:
        broken.setattr(editor, "paste_all", fail)
        visitor.drag("Smiling", end)
        expect(status).to_contain_text("wrong on our side")
        assert "secret" not in visitor.page.content()
    visitor.drag("Smiling", abs(end - 0.1))
    visitor.wait_until(lambda: not visitor.is_untouched())
    expect(status).to_have_text("")
    visitor.leave()
