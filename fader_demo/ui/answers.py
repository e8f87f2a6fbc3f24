"""What the page answers to each of its events. Where things are on it is ``ui.page``'s matter."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import gradio as gr
from PIL import Image

from fader_demo.attributes import SchemaError
from fader_demo.clips import write_clip
from fader_demo.editor import Edit
from fader_demo.photos import PhotoError, fitted, read_photo
from fader_demo.pretrained import ModelError
from fader_demo.readings import explain
from fader_demo.serving import Busy, Job, Scheduler
from fader_demo.ui.about import described
from fader_demo.ui.animation import CLIP_SIDE, FRAMES, FRAMES_PER_SECOND, asked_for
from fader_demo.ui.changes import shown
from fader_demo.ui.download import picture_file, wanted_format, written_file
from fader_demo.ui.grid import Grid
from fader_demo.ui.photo import Opening, Wanted, uploaded_paths
from fader_demo.ui.pictures import LIVE_SIDE, data_uri
from fader_demo.ui.result import drawn
from fader_demo.ui.sliders import Move, at_start, edit_now, edit_of, panel
from fader_demo.ui.strip import Strip, strengths
from fader_demo.ui.thumbnails import pressed, thumbnails
from fader_demo.ui.tray import laid_out
from fader_demo.ui.visit import (
    MAX_PIXELS_HELD,
    OUR_FAULT,
    Gone,
    Photo,
    Refusal,
    Visit,
    held,
    in_plain_words,
    log_failure,
    pixels,
    tell,
)

if TYPE_CHECKING:
    from fader_demo.editor import Editor, Face
    from fader_demo.models import Models

Value = dict[str, Any] | None

SMALL_SIDE, LARGE_SIDE = 224, 512
"""Pixels of a face's side: where several are shown, and where they are saved."""

RETRY_SECONDS = 60
"""When to try again if the photos of others fill the memory."""


class Answers:
    """The functions behind the page; all that a visitor brought is in their Visit.

    examples: the first of them is opened once for everybody. cache: Gradio's folder for the files
    that it offers.
    """

    def __init__(self, models: Models, examples: Sequence[Path], cache: str) -> None:
        self.models = models
        self.examples = list(examples)
        self.cache = cache
        self.scheduler = Scheduler()
        # By key, for as long as a gr.State holds them.
        self.visits: WeakValueDictionary[str, Visit] = WeakValueDictionary()
        self._greeting: Face | None = None
        self._opening = threading.Lock()

    @property
    def greeting(self) -> Face | None:
        """The first example. What finds faces is loaded for it, which may take some seconds."""
        with self._opening:
            if self._greeting is None and self.examples:
                self._greeting = self.models.editor(self.models.first).open(self.examples[0])
        return self._greeting

    def first_photo(self) -> str:
        """What the page shows before it has asked for anything: a data URI, or ""."""
        return data_uri(fitted(read_photo(self.examples[0]), LIVE_SIDE)) if self.examples else ""

    def _editor(self, visit: Visit | None) -> Editor:
        return self.models.editor(visit.model if visit else self.models.first)

    # Opening a face: each of these answers with `opens`' outputs.

    @in_plain_words
    def greet(self) -> tuple[Any, ...]:
        greeting = self.greeting
        if greeting is None:
            return gr.skip()
        photo = Photo(greeting, {"example": 0})
        *opened, sliders = self._shown(Visit(self.models.first, (photo,), greeting=True))
        return *opened, sliders | {"greeting": True}

    @in_plain_words
    def open_photos(self, visit: Visit | None, model: str, value: Any) -> tuple[Any, ...]:
        opening = Opening.read(value)
        return self._open(visit, model, opening.photos, opening.chosen)

    @in_plain_words
    def open_example(self, visit: Visit | None, model: str, event: gr.EventData) -> tuple[Any, ...]:
        index = pressed(event, len(self.examples))
        return self._open(visit, model, [Wanted(example=index)])

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
        switched = held(visit).adopted(model, editor.adopt)
        schema, card = editor.schema, self.models.card(model)
        *opened, _ = self._shown(switched)
        edit = edit_of(visit, sliders)
        value = at_start(switched, edit.moved if edit else {})
        return (
            *opened,
            gr.HTML(value=value, panel=panel(schema, card, model)),
            *Strip.for_schema(schema),
            *Grid.for_schema(schema),
            described(card, schema),
        )

    def _open(
        self, visit: Visit | None, model: str, photos: Sequence[Wanted], chosen: int = 0
    ) -> tuple[Any, ...]:
        """The photos that can be opened; of each of the others, why it can not.

        model: what the page shows. A visit that is no longer held begins anew with it.
        """
        before = visit or Visit(model)
        before.check_room(len(photos))
        self._admit(before)
        editor, opened = self._editor(before), []
        for number, wanted in enumerate(photos, 1):
            try:
                face = editor.open(self._path(wanted), wanted.face)
                opened.append(Photo(face, wanted.source))
            except (PhotoError, IndexError) as error:
                if len(photos) == 1:
                    raise Refusal(str(error)) from error
                tell(f"{number}. photo of {len(photos)}: {error}")
        if not opened:
            return gr.skip()
        return self._shown(before.opened(tuple(opened), min(chosen, len(opened) - 1)))

    def _admit(self, visit: Visit) -> None:
        """Raises Busy when too many visitors are active, or their photos fill the memory."""
        self.scheduler.admit(visit.key)
        visits = list(self.visits.values())
        if pixels(photo for each in visits for photo in each.photos) > MAX_PIXELS_HELD:
            raise Busy(RETRY_SECONDS)

    def _path(self, wanted: Wanted) -> Path:
        if wanted.example is None:
            return uploaded_paths([wanted.file])[0]
        if wanted.example >= len(self.examples):
            raise Refusal("There is no such example any more. Choose another.")
        return self.examples[wanted.example]

    def _shown(self, visit: Visit, edit: Edit | None = None) -> tuple[Any, ...]:
        self.visits[visit.key] = visit
        face = visit.face
        original = data_uri(face.photo_at(LIVE_SIDE))
        portraits = [_portrait(face.photo, box) for box in face.boxes]
        sliders = at_start(visit, edit.moved if edit else None)
        return visit, original, thumbnails(portraits, face.index), sliders

    # Drawing the face where the sliders stand. A move made on an earlier face draws nothing.

    async def draw(self, sliders: Any) -> dict[str, Any]:
        """What a move of the sliders shows, or which problem there is (see ``slider_panel``).

        The call comes from no session: who knows the key of a visit may draw what is open there.
        """
        try:
            return await self._drawn(Move.read(sliders))
        except Busy as busy:
            return _problem("busy", str(busy)) | {"retry_seconds": busy.retry_seconds}
        except Gone as gone:
            return _problem("gone", str(gone))
        except (Refusal, SchemaError) as refusal:
            return _problem("refused", str(refusal))
        except Exception:
            log_failure("draw")
            return _problem("failed", OUR_FAULT)

    async def _drawn(self, move: Move) -> dict[str, Any]:
        visit = held(self.visits.get(move.visit))
        edit = move.edit_of(visit)
        if not edit:
            return _problem("elsewhere", "Another face has taken the place of this one.")
        finish = functools.partial(drawn, edit, began=time.perf_counter())
        job = Job(self._editor(visit), edit, LIVE_SIDE, finish)
        answer = await asyncio.wrap_future(self.scheduler.submit(visit.key, job))
        return answer or _problem("superseded", "A newer move has taken the place of this one.")

    @in_plain_words
    def draw_below(self, visit: Visit | None, sliders: Value, tab: str, *settings: Any) -> Any:
        """Draws what is in sight below the editor, and leaves the rest as it is."""
        edit = edit_now(visit, sliders)
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
        return Strip.for_attribute(self._editor(visit).schema[name])

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
        edit = edit_now(visit, sliders)
        end = wanted_format(event)
        image = self._editor(visit).paste(edit.face, edit.values, detail=edit.detail)
        profile = edit.face.profile
        return picture_file(image, "portrait-edited", end, self.cache, profile)

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
        edit = edit_now(visit, sliders)
        image = self._strip(visit, edit, LARGE_SIDE, name, count, low, high)
        return picture_file(image, "portrait-strengths", wanted_format(event), self.cache)

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
        edit = edit_now(visit, sliders)
        image = self._grid(visit, edit, LARGE_SIDE // 2, row, column, count)
        return picture_file(image, "portrait-grid", wanted_format(event), self.cache)

    @in_plain_words
    def animate(
        self,
        visit: Visit | None,
        sliders: Value,
        event: gr.EventData,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio finds it by its default)
    ) -> Any:
        edit = edit_now(visit, sliders)
        editor = self._editor(visit)
        journey = asked_for(event, editor.schema)
        frames = editor.loop(
            edit.face, journey.start, journey.end, FRAMES, CLIP_SIDE, journey.detail
        )
        counted = progress.tqdm(frames, total=FRAMES, desc="Drawing", unit="pictures")
        return written_file(
            f"portrait{journey.suffix}",
            self.cache,
            lambda path: write_clip(counted, path, FRAMES_PER_SECOND),
        )


def _problem(kind: str, message: str) -> dict[str, Any]:
    return {"problem": kind, "message": message}


def _portrait(photo: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """A face with some hair and chin around it, as far as the photo goes."""
    left, top, right, bottom = box
    margin = 0.25 * (bottom - top)
    corner = max(round(left - margin), 0), max(round(top - margin), 0)
    opposite = min(round(right + margin), photo.width), min(round(bottom + margin), photo.height)
    return photo.crop((*corner, *opposite))
