"""The whole page: the panels in their places, and what happens between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from fader_demo.ui.download import download_button, png_file
from fader_demo.ui.photo import photo_input, uploaded_path
from fader_demo.ui.pictures import LIVE_SIDE, data_uri, picture
from fader_demo.ui.sliders import at_start, edit_of, slider_panel
from fader_demo.ui.strengths import Strengths, strengths
from fader_demo.ui.thumbnails import pressed, thumbnail_row, thumbnails
from fader_demo.ui.visit import KEPT_SECONDS, Visit, held, in_plain_words

if TYPE_CHECKING:
    from fader_demo.editor import Editor, Face

Value = dict[str, Any] | None

THEME = gr.themes.Base(
    primary_hue="teal", neutral_hue="zinc", font=["system-ui", "sans-serif"], font_mono="monospace"
)
CSS = Path(__file__).with_name("page.css")

AT_ONCE = 2
"""Pictures that are drawn, and photos that are opened, at the same time; others take turns."""

SWEEP = (60, 300)
"""Every how many seconds files are deleted, and from what age. An upload is read as it arrives."""


class Page:
    """An editor as a page. What visitors bring stays in their own gr.State.

    examples: photos to try; the first is open when the page is.
    """

    def __init__(self, editor: Editor, examples: Sequence[Path] = ()) -> None:
        self.editor = editor
        self.examples = list(examples)

    def build(self) -> gr.Blocks:
        with gr.Blocks(title="Fader", analytics_enabled=False, delete_cache=SWEEP) as page:
            self._render()
            self._listen(page)
        return page

    def _render(self) -> None:
        examples = [Image.open(path) for path in self.examples]
        self.visit = gr.State(None, time_to_live=KEPT_SECONDS)
        gr.HTML(_TITLE, apply_default_css=False, elem_id="title")
        with gr.Row(elem_id="editor"):
            with gr.Column(elem_id="source"):
                self.original = picture("original", "The photo as it was opened", "Original")
                with gr.Column(elem_id="ways-in"):
                    self.photo = photo_input()
                    self.example = thumbnail_row("examples", "Examples", "Example", examples)
                    self.faces = thumbnail_row("faces", "Which face?", "Face", fewest=2)
            with gr.Column(elem_id="edited"):
                self.result = picture("result", "The photo with the edit", "Edited")
                self.download = download_button()
            with gr.Column(elem_id="controls"):
                self.sliders = slider_panel(self.editor.schema)
        self.strengths = Strengths(self.editor.schema)

    def _listen(self, page: gr.Blocks) -> None:
        opens: dict[str, Any] = {
            "outputs": [self.visit, self.original, self.faces, self.sliders],
            "concurrency_id": "open",
            "concurrency_limit": AT_ONCE,
            "show_progress_on": self.original,
        }
        draws: dict[str, Any] = {
            "concurrency_id": "draw",
            "concurrency_limit": AT_ONCE,
            "trigger_mode": "always_last",
            "show_progress": "hidden",
        }
        if self.examples:
            page.load(self.greet, None, **opens)
        self.photo.upload(self.open_upload, self.photo, **opens)
        self.example.select(self.open_example, None, **opens)
        self.faces.select(self.choose_face, self.visit, **opens)
        self.sliders.change(self.draw, [self.visit, self.sliders], self.result, **draws)
        gr.on(
            [self.sliders.release, self.strengths.attribute.input],
            self.draw_strip,
            [self.visit, self.sliders, self.strengths.attribute],
            self.strengths.strip,
            **draws,
        )
        self.download.click(
            self.save, [self.visit, self.sliders], self.download, concurrency_limit=AT_ONCE
        )
        page.unload(_forget(page))

    # Opening a face: each of these answers with `opens`' outputs.

    @in_plain_words
    def greet(self) -> tuple[Any, ...]:
        return self._opened(self.editor.open(self.examples[0]))

    @in_plain_words
    def open_upload(self, file: Value) -> tuple[Any, ...]:
        return self._opened(self.editor.open(uploaded_path(file)))

    @in_plain_words
    def open_example(self, event: gr.EventData) -> tuple[Any, ...]:
        return self._opened(self.editor.open(self.examples[pressed(event, len(self.examples))]))

    @in_plain_words
    def choose_face(self, visit: Visit | None, event: gr.EventData) -> tuple[Any, ...]:
        face = held(visit).face
        return self._opened(self.editor.choose(face, pressed(event, len(face.boxes))))

    def _opened(self, face: Face) -> tuple[Any, ...]:
        visit = Visit(face)
        original = data_uri(self.editor.paste(face, {}, max_side=LIVE_SIDE))
        portraits = [_portrait(face.photo, box) for box in face.boxes]
        return visit, original, thumbnails(portraits, face.index), at_start(visit)

    # Drawing the face where the sliders stand. A move made on an earlier face draws nothing.

    @in_plain_words
    def draw(self, visit: Visit | None, sliders: Value) -> Any:
        if visit is None:
            return gr.skip()  # `draw_strip` says why, once at the end of a drag
        edit = edit_of(visit, sliders)
        return data_uri(self.editor.paste(*edit, max_side=LIVE_SIDE)) if edit else gr.skip()

    @in_plain_words
    def draw_strip(self, visit: Visit | None, sliders: Value, name: str) -> Any:
        edit = edit_of(visit, sliders)
        if not edit:
            return gr.skip()
        face, values = edit
        steps = strengths(self.editor.schema[name])
        return data_uri(self.editor.strip(face, name, steps, values))

    @in_plain_words
    def save(self, visit: Visit | None, sliders: Value) -> Any:
        edit = edit_of(visit, sliders)
        if not edit:
            return gr.skip()
        return png_file(self.editor.paste(*edit), self.download.GRADIO_CACHE)


def _portrait(photo: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """A face with some hair and chin around it, as far as the photo goes."""
    left, top, right, bottom = box
    margin = 0.25 * (bottom - top)
    corner = max(round(left - margin), 0), max(round(top - margin), 0)
    opposite = min(round(right + margin), photo.width), min(round(bottom + margin), photo.height)
    return photo.crop((*corner, *opposite))


def _forget(page: gr.Blocks) -> Any:
    """Lets go of all that a visitor brought, once their page is closed."""

    def forget(request: gr.Request) -> None:
        page.state_holder.delete_state(str(request.session_hash))

    return forget


_TITLE = """
<header class="title">
  <h1>Fader</h1>
  <p>Open a portrait, move a fader, watch the face change.</p>
</header>
"""
