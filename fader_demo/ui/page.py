"""The whole page: the panels in their places, and what happens between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from fader_demo.ui.about import about_panel
from fader_demo.ui.animation import animation_panel
from fader_demo.ui.answers import Answers
from fader_demo.ui.api import UploadsOnly, add_endpoints
from fader_demo.ui.changes import changes_panel
from fader_demo.ui.connection import connection
from fader_demo.ui.download import download_button
from fader_demo.ui.grid import Grid
from fader_demo.ui.photo import photo_input
from fader_demo.ui.pictures import picture
from fader_demo.ui.pins import pin_row
from fader_demo.ui.result import result_panel
from fader_demo.ui.sharing import sharing_panel
from fader_demo.ui.sliders import slider_panel
from fader_demo.ui.strip import Strip
from fader_demo.ui.thumbnails import thumbnail_row
from fader_demo.ui.tray import photo_tray
from fader_demo.ui.visit import KEPT_SECONDS

if TYPE_CHECKING:
    from fader_demo.models import Models

THEME = gr.themes.Base(
    primary_hue="teal", neutral_hue="zinc", font=["system-ui", "sans-serif"], font_mono="monospace"
)
CSS = [Path(__file__).with_name("page.css"), Path(__file__).with_name("changes.css")]

AT_ONCE = 2
"""Photos that are opened, and sheets that are drawn, at the same time; others take turns."""


class Page:
    """Models as a page. What visitors bring stays in their own gr.State.

    examples: photos to try; the first is open when the page is.
    """

    def __init__(self, models: Models, examples: Sequence[Path] = ()) -> None:
        self.models = models
        self.answers = Answers(models, examples, get_upload_folder())

    def build(self) -> gr.Blocks:
        with UploadsOnly(title="Fader", analytics_enabled=False) as page:
            self._render()
            self._listen(page)
            add_endpoints(self.models, self.answers.cache)
        return page

    def warm_up(self) -> None:
        """Opens the example ahead of the first visitor, who may come while it does."""
        _ = self.answers.greeting

    def close(self) -> None:
        """Ends the threads that draw."""
        self.answers.scheduler.close()

    def _render(self) -> None:
        examples = [Image.open(path) for path in self.answers.examples]
        first_photo = self.answers.first_photo()
        model = self.models.first
        schema, card = self.models.editor(model).schema, self.models.card(model)
        self.visit = gr.State(None, time_to_live=KEPT_SECONDS)
        self.open_tab = gr.State("strip")
        connection()
        with gr.Row(elem_id="header"):
            gr.HTML(_TITLE, apply_default_css=False, elem_id="title")
            self.model = gr.Dropdown(
                list(self.models.names),
                value=model,
                label="Model",
                container=False,
                visible=len(self.models.names) > 1,
                elem_id="model",
            )
        with gr.Row(elem_id="editor"):
            with gr.Column(elem_id="source"):
                self.original = picture(
                    "original", "The photo as it was opened", "Original", first_photo
                )
                with gr.Column(elem_id="ways-in"):
                    self.photo = photo_input()
                    self.example = thumbnail_row("examples", "Examples", "Example", examples)
                    self.faces = thumbnail_row("faces", "Which face?", "Face", fewest=2)
            with gr.Column(elem_id="edited"):
                result_panel(first_photo)
                self.download = download_button("download", "Download", primary=True)
                self.pins = pin_row()
            with gr.Column(elem_id="controls"):
                self.sliders = slider_panel(schema, card, model, self.answers.draw)
        with gr.Tabs(elem_id="panels"):
            with gr.Tab("Strengths") as strip_tab:
                self.strip = Strip(schema)
            with gr.Tab("Grid") as grid_tab:
                self.grid = Grid(schema)
            with gr.Tab("Photos") as tray_tab:
                self.tray = photo_tray()
            with gr.Tab("Changes") as changes_tab:
                self.changes = changes_panel()
            with gr.Tab("Clip"):
                self.animation = animation_panel()
            with gr.Tab("Share"):
                self.sharing = sharing_panel()
            with gr.Tab("Model"):
                self.about = about_panel(card, schema)
        self.tabs = {
            "strip": strip_tab,
            "grid": grid_tab,
            "photos": tray_tab,
            "changes": changes_tab,
        }

    def _listen(self, page: gr.Blocks) -> None:
        answers = self.answers
        private: dict[str, Any] = {"api_visibility": "private"}
        opens: dict[str, Any] = {
            "outputs": [self.visit, self.original, self.faces, self.sliders],
            "concurrency_id": "open",
            "concurrency_limit": AT_ONCE,
            "show_progress_on": self.original,
            **private,
        }
        where = [self.visit, self.sliders]
        page.load(answers.greet, None, **opens)
        self.photo.upload(answers.open_photos, [self.visit, self.model, self.photo], **opens)
        self.example.select(answers.open_example, [self.visit, self.model], **opens)
        self.faces.select(answers.choose_face, self.visit, **opens)
        self.tray.select(answers.choose_photo, where, **opens)
        self.tray.remove(answers.close_photo, where, **opens)

        settings = [*self.strip.settings, *self.grid.settings]
        draws_below: dict[str, Any] = {
            "fn": answers.draw_below,
            "inputs": [*where, self.open_tab, *settings],
            "outputs": [self.strip.picture, self.grid.picture, self.tray, self.changes],
            "concurrency_id": "below",
            "concurrency_limit": AT_ONCE,
            "trigger_mode": "always_last",
            "show_progress": "hidden",
            **private,
        }
        gr.on([self.sliders.apply, *(s.change for s in settings)], **draws_below)
        for name, tab in self.tabs.items():
            opened = tab.select(lambda name=name: name, None, self.open_tab, queue=False, **private)
            opened.then(**draws_below)
        # Not a list's `input`, which fires twice for a choice, and whenever the list is left.
        self.strip.attribute.change(
            answers.choose_strip, [self.visit, self.strip.attribute], self.strip.ends, **private
        )
        saves: dict[str, Any] = {"concurrency_id": "save", "concurrency_limit": AT_ONCE, **private}
        self.download.click(answers.save, where, self.download, **saves)
        self.strip.download.click(
            answers.save_strip, [*where, *self.strip.settings], self.strip.download, **saves
        )
        self.grid.download.click(
            answers.save_grid, [*where, *self.grid.settings], self.grid.download, **saves
        )
        self.animation.make(answers.animate, where, self.animation, **saves)
        self.model.change(
            answers.choose_model,
            [self.model, *where],
            [
                *opens["outputs"],
                self.strip.attribute,
                *self.strip.ends,
                self.grid.rows,
                self.grid.columns,
                self.about,
            ],
            trigger_mode="always_last",
            **{key: value for key, value in opens.items() if key != "outputs"},
        )
        page.unload(_forget(page))


def _forget(page: gr.Blocks) -> Any:
    """Lets go of all that a visitor brought, and of all that was drawn, once their page is closed.

    Gradio would keep the pictures that a page showed until too many pages have been open.
    """

    def forget(request: gr.Request) -> None:
        session, held = str(request.session_hash), page.state_holder
        held.delete_state(session)
        held.session_data.pop(session, None)
        held.time_last_used.pop(session, None)

    return forget


_TITLE = """
<header class="title">
  <h1>Fader</h1>
  <p>Open a portrait, move a fader, watch the face change.</p>
</header>
"""
