"""The whole page: the panels in their places, and what happens between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from fader_demo.clips import write_clip
from fader_demo.photos import PhotoError
from fader_demo.pretrained import ModelError
from fader_demo.readings import explain
from fader_demo.ui.about import about_panel, described
from fader_demo.ui.animation import (
    CLIP_SIDE,
    FRAMES,
    FRAMES_PER_SECOND,
    animation_panel,
    asked_for,
)
from fader_demo.ui.api import UploadsOnly, add_endpoints
from fader_demo.ui.changes import changes_panel, shown
from fader_demo.ui.download import (
    download_button,
    new_file,
    offered,
    picture_file,
    wanted_format,
)
from fader_demo.ui.grid import Grid
from fader_demo.ui.photo import photo_input, uploaded_paths
from fader_demo.ui.pictures import LIVE_SIDE, data_uri, picture
from fader_demo.ui.pins import pin_row
from fader_demo.ui.result import drawn, result_panel
from fader_demo.ui.sharing import sharing_panel
from fader_demo.ui.sliders import Edit, at_start, edit_of, panel, slider_panel
from fader_demo.ui.strip import Strip, strengths
from fader_demo.ui.thumbnails import pressed, thumbnail_row, thumbnails
from fader_demo.ui.tray import laid_out, photo_tray
from fader_demo.ui.visit import KEPT_SECONDS, Refusal, Visit, held, in_plain_words, tell

if TYPE_CHECKING:
    from fader_demo.editor import Editor
    from fader_demo.models import Models

Value = dict[str, Any] | None

THEME = gr.themes.Base(
    primary_hue="teal", neutral_hue="zinc", font=["system-ui", "sans-serif"], font_mono="monospace"
)
CSS = [Path(__file__).with_name("page.css"), Path(__file__).with_name("changes.css")]

AT_ONCE = 2
"""Pictures that are drawn, and photos that are opened, at the same time; others take turns."""

SMALL_SIDE, LARGE_SIDE = 224, 512
"""Pixels of a face's side: where several are shown, and where they are saved."""


class Page:
    """Models as a page. What visitors bring stays in their own gr.State.

    examples: photos to try; the first is open when the page is.
    """

    def __init__(self, models: Models, examples: Sequence[Path] = ()) -> None:
        self.models = models
        self.examples = list(examples)
        editor = models.editor(models.first)
        self.greeting = editor.open(self.examples[0]) if self.examples else None

    def build(self) -> gr.Blocks:
        with UploadsOnly(title="Fader", analytics_enabled=False) as page:
            self._render()
            self._listen(page)
            add_endpoints(self.models, self.animation.GRADIO_CACHE)
        return page

    def _render(self) -> None:
        examples = [Image.open(path) for path in self.examples]
        model = self.models.first
        schema, card = self.models.editor(model).schema, self.models.card(model)
        self.visit = gr.State(None, time_to_live=KEPT_SECONDS)
        self.open_tab = gr.State("strip")
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
                    "original", "The photo as it was opened", "Original", self._first_photo()
                )
                with gr.Column(elem_id="ways-in"):
                    self.photo = photo_input()
                    self.example = thumbnail_row("examples", "Examples", "Example", examples)
                    self.faces = thumbnail_row("faces", "Which face?", "Face", fewest=2)
            with gr.Column(elem_id="edited"):
                self.result = result_panel(self._first_photo())
                self.download = download_button("download", "Download", primary=True)
                self.pins = pin_row()
            with gr.Column(elem_id="controls"):
                self.sliders = slider_panel(schema, card, model)
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

    def _first_photo(self) -> str:
        """What the page shows before it has asked for anything."""
        return data_uri(self.greeting.photo_at(LIVE_SIDE)) if self.greeting else ""

    def _listen(self, page: gr.Blocks) -> None:
        private: dict[str, Any] = {"api_visibility": "private"}
        opens: dict[str, Any] = {
            "outputs": [self.visit, self.original, self.faces, self.sliders],
            "concurrency_id": "open",
            "concurrency_limit": AT_ONCE,
            "show_progress_on": self.original,
            **private,
        }
        draws: dict[str, Any] = {
            "concurrency_id": "draw",
            "concurrency_limit": AT_ONCE,
            "trigger_mode": "always_last",
            "show_progress": "hidden",
            **private,
        }
        where = [self.visit, self.sliders]
        page.load(self.greet, None, **opens)
        self.photo.upload(self.open_uploads, [self.visit, self.photo], **opens)
        self.example.select(self.open_example, self.visit, **opens)
        self.faces.select(self.choose_face, self.visit, **opens)
        self.tray.select(self.choose_photo, where, **opens)
        self.tray.remove(self.close_photo, where, **opens)
        self.sliders.change(self.draw, where, self.result, **draws)

        settings = [*self.strip.settings, *self.grid.settings]
        draws_below: dict[str, Any] = {
            "fn": self.draw_below,
            "inputs": [*where, self.open_tab, *settings],
            "outputs": [self.strip.picture, self.grid.picture, self.tray, self.changes],
            **draws,
            "concurrency_id": "below",
        }
        follows = [self.sliders.change, self.sliders.release, *(s.change for s in settings)]
        gr.on(follows, **draws_below)
        for name, tab in self.tabs.items():
            opened = tab.select(lambda name=name: name, None, self.open_tab, queue=False, **private)
            opened.then(**draws_below)
        self.strip.attribute.input(
            self.choose_strip, [self.visit, self.strip.attribute], self._strip_ends, **private
        )
        saves: dict[str, Any] = {"concurrency_id": "save", "concurrency_limit": AT_ONCE, **private}
        self.download.click(self.save, where, self.download, **saves)
        self.strip.download.click(
            self.save_strip, [*where, *self.strip.settings], self.strip.download, **saves
        )
        self.grid.download.click(
            self.save_grid, [*where, *self.grid.settings], self.grid.download, **saves
        )
        self.animation.make(self.animate, where, self.animation, **saves)
        self.model.input(
            self.choose_model,
            [self.model, *where],
            [
                *opens["outputs"],
                self.strip.attribute,
                *self._strip_ends,
                self.grid.rows,
                self.grid.columns,
                self.about,
            ],
            **{key: value for key, value in opens.items() if key != "outputs"},
        )
        page.unload(_forget(page))

    @property
    def _strip_ends(self) -> list[gr.Number]:
        return [self.strip.low, self.strip.high]

    def _editor(self, visit: Visit | None) -> Editor:
        return self.models.editor(visit.model if visit else self.models.first)

    # Opening a face: each of these answers with `opens`' outputs.

    @in_plain_words
    def greet(self) -> tuple[Any, ...]:
        if self.greeting is None:
            return gr.skip()
        *opened, sliders = self._shown(Visit(self.models.first, (self.greeting,), greeting=True))
        return *opened, sliders | {"greeting": True}

    @in_plain_words
    def open_uploads(self, visit: Visit | None, files: Any) -> tuple[Any, ...]:
        return self._open(visit, uploaded_paths(files))

    @in_plain_words
    def open_example(self, visit: Visit | None, event: gr.EventData) -> tuple[Any, ...]:
        return self._open(visit, [self.examples[pressed(event, len(self.examples))]])

    @in_plain_words
    def choose_face(self, visit: Visit | None, event: gr.EventData) -> tuple[Any, ...]:
        face = held(visit).face
        index = pressed(event, len(face.boxes))
        return self._shown(held(visit).with_face(self._editor(visit).choose(face, index)))

    @in_plain_words
    def choose_photo(
        self, visit: Visit | None, sliders: Value, event: gr.EventData
    ) -> tuple[Any, ...]:
        index = pressed(event, len(held(visit).faces))
        return self._shown(held(visit).chose(index), edit_of(visit, sliders))

    @in_plain_words
    def close_photo(
        self, visit: Visit | None, sliders: Value, event: gr.EventData
    ) -> tuple[Any, ...]:
        index = pressed(event, len(held(visit).faces))
        if len(held(visit).faces) < 2:
            raise Refusal("This is the only photo that is open.")
        return self._shown(held(visit).closed(index), edit_of(visit, sliders))

    @in_plain_words
    def choose_model(self, model: str, visit: Visit | None, sliders: Value) -> tuple[Any, ...]:
        """The open photos with another model, the sliders that both know where they were."""
        try:
            editor = self.models.editor(model)
        except ModelError as error:
            raise Refusal(str(error)) from error
        faces = tuple(editor.adopt(face) for face in held(visit).faces)
        switched = Visit(model, faces, held(visit).chosen, held(visit).greeting)
        schema, card = editor.schema, self.models.card(model)
        *opened, _ = self._shown(switched)
        edit = edit_of(visit, sliders)
        value = at_start(switched, edit.moved if edit else {})
        return (
            *opened,
            gr.HTML(value=value, panel=panel(schema, card, model)),
            *self.strip.for_schema(schema),
            *self.grid.for_schema(schema),
            described(card, schema),
        )

    def _open(self, visit: Visit | None, paths: Sequence[Path]) -> tuple[Any, ...]:
        """The photos that can be opened; of each of the others, why it can not."""
        editor, opened = self._editor(visit), []
        for path in paths:
            try:
                opened.append(editor.open(path))
            except PhotoError as error:
                if len(paths) == 1:
                    raise
                tell(f"{len(opened) + 1}. photo of {len(paths)}: {error}")
        if not opened:
            return gr.skip()
        before = visit or Visit(self.models.first, ())
        return self._shown(before.opened(tuple(opened)))

    def _shown(self, visit: Visit, edit: Edit | None = None) -> tuple[Any, ...]:
        face = visit.face
        original = data_uri(face.photo_at(LIVE_SIDE))
        portraits = [_portrait(face.photo, box) for box in face.boxes]
        sliders = at_start(visit, edit.moved if edit else None)
        return visit, original, thumbnails(portraits, face.index), sliders

    # Drawing the face where the sliders stand. A move made on an earlier face draws nothing.

    @in_plain_words
    def draw(self, visit: Visit | None, sliders: Value) -> Any:
        if visit is None:
            return gr.skip()  # `draw_below` says why, once at the end of a drag
        edit = edit_of(visit, sliders)
        if not edit or not sliders:
            return gr.skip()
        editor = self._editor(visit)
        return drawn(
            edit,
            sliders.get("at"),
            lambda: editor.paste(edit.face, edit.values, LIVE_SIDE, edit.detail),
        )

    @in_plain_words
    def draw_below(self, visit: Visit | None, sliders: Value, tab: str, *settings: Any) -> Any:
        """Draws what is in sight below the editor, and leaves the rest as it is."""
        edit = edit_of(visit, sliders)
        if not edit:
            return gr.skip()
        for_strip, for_grid = settings[:4], settings[4:]
        drawings = {
            "strip": lambda: data_uri(self._strip(visit, edit, SMALL_SIDE, *for_strip)),
            "grid": lambda: data_uri(self._grid(visit, edit, SMALL_SIDE // 2, *for_grid)),
            "photos": lambda: self._tray(held(visit), edit),
            "changes": lambda: shown(
                explain(self._editor(visit), edit.face, edit.values, edit.detail)
            ),
        }
        return tuple(draw() if name == tab else gr.skip() for name, draw in drawings.items())

    @in_plain_words
    def choose_strip(self, visit: Visit | None, name: str) -> Any:
        return self.strip.for_attribute(self._editor(visit).schema[name])

    def _strip(
        self,
        visit: Visit | None,
        edit: Edit,
        size: int,
        name: str,
        count: int,
        low: float | None,
        high: float | None,
    ) -> Image.Image:
        editor = self._editor(visit)
        steps = strengths(editor.schema[name], count, low, high)
        return editor.strip(edit.face, name, steps, edit.values, size, edit.detail)

    def _grid(
        self, visit: Visit | None, edit: Edit, size: int, row: str, column: str, count: int
    ) -> Image.Image:
        if row == column:
            raise Refusal("Choose two different attributes.")
        editor = self._editor(visit)
        down, across = (strengths(editor.schema[name], count) for name in (row, column))
        return editor.grid(edit.face, row, down, column, across, edit.values, size, edit.detail)

    def _tray(self, visit: Visit, edit: Edit) -> dict[str, Any]:
        editor = self._editor(visit)
        images = [editor.render(face, edit.moved, SMALL_SIDE, edit.detail) for face in visit.faces]
        return laid_out(images, visit.chosen)

    # Saving

    @in_plain_words
    def save(self, visit: Visit | None, sliders: Value, event: gr.EventData) -> Any:
        edit = edit_of(visit, sliders)
        if not edit:
            return gr.skip()
        end = wanted_format(event)
        image = self._editor(visit).paste(edit.face, edit.values, detail=edit.detail)
        profile = edit.face.profile
        return picture_file(image, "portrait-edited", end, self.download.GRADIO_CACHE, profile)

    @in_plain_words
    def save_strip(
        self,
        visit: Visit | None,
        sliders: Value,
        name: str,
        count: int,
        low: float | None,
        high: float | None,
        event: gr.EventData,
    ) -> Any:
        edit = edit_of(visit, sliders)
        if not edit:
            return gr.skip()
        image = self._strip(visit, edit, LARGE_SIDE, name, count, low, high)
        cache = self.download.GRADIO_CACHE
        return picture_file(image, "portrait-strengths", wanted_format(event), cache)

    @in_plain_words
    def save_grid(
        self,
        visit: Visit | None,
        sliders: Value,
        row: str,
        column: str,
        count: int,
        event: gr.EventData,
    ) -> Any:
        edit = edit_of(visit, sliders)
        if not edit:
            return gr.skip()
        image = self._grid(visit, edit, LARGE_SIDE // 2, row, column, count)
        cache = self.download.GRADIO_CACHE
        return picture_file(image, "portrait-grid", wanted_format(event), cache)

    @in_plain_words
    def animate(
        self,
        visit: Visit | None,
        sliders: Value,
        event: gr.EventData,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio finds it by its default)
    ) -> Any:
        edit = edit_of(visit, sliders)
        if not edit:
            return gr.skip()
        editor = self._editor(visit)
        journey = asked_for(event, editor.schema)
        stops = [journey.start, journey.end, journey.start]
        # One picture more, left out: the clip begins again where it would be drawn.
        frames = editor.sweep(edit.face, stops, FRAMES + 1, CLIP_SIDE, journey.detail)
        path = new_file(f"portrait{journey.suffix}", self.animation.GRADIO_CACHE)
        write_clip(
            progress.tqdm(islice(frames, FRAMES), total=FRAMES, desc="Drawing", unit="pictures"),
            path,
            FRAMES_PER_SECOND,
        )
        return offered(path)


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
