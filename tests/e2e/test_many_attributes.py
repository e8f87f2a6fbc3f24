"""A model of more attributes than fit the page: they can be searched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import Browser, expect
from visitor import Visitor

from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader
from fader_demo.models import Models
from fader_demo.ui.page import CSS, Page
from fader_demo.ui.sliders import SEARCHED

COUNT = SEARCHED + 1


@pytest.fixture
def served(portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[gr.Blocks]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    attributes = [
        {"name": f"Trait_{number}", "group": f"Group {number % 3}"} for number in range(COUNT)
    ]
    Fader(attributes, image_size=64, width=8, max_width=16, depth=4).save_pretrained(tmp_path / "m")
    AttributeEstimator(attributes, 64, 8).save_pretrained(tmp_path / "m" / "estimator")
    page = Page(Models({"many": tmp_path / "m"}), [portrait]).build()
    page.launch(prevent_thread_lock=True, quiet=True, run_history=False, css_paths=CSS)
    yield page
    page.close(verbose=False)


def test_attributes_are_found_by_their_name(served: gr.Blocks, chromium: Browser) -> None:
    context = chromium.new_context(reduced_motion="reduce")
    visitor = Visitor(context.new_page(), served.local_url)
    rows = visitor.page.locator(".fader:visible")
    expect(rows).to_have_count(COUNT + 1)  # the detail too
    search = visitor.page.get_by_role("searchbox", name="Search")
    search.fill("trait 12")
    expect(rows).to_have_count(1)
    expect(visitor.page.get_by_role("group", name="Group 1")).to_be_hidden()
    visitor.drag("Trait-12", visitor.farther_end("Trait-12"))
    visitor.wait_until(lambda: "Trait_12=" in visitor.fragment())
    search.fill("")
    expect(rows).to_have_count(COUNT + 1)
    context.close()
