"""The faders: one slider for every attribute, or a list of choices for a categorical one.

All of them are one component, so that a new face sets every start in one event and a move costs
one answer, however many attributes the model has. Its value is

    {"visit": key of the visit, "face": which face is shown, "start": {name: number},
     "now": {name: number}, "detail": number,
     "photos": what is open, as ``Photo.source`` with the "face" chosen in it, "chosen": number}

or None while no face is open. The script has a move drawn by calling the server itself, past
Gradio's queue; `apply` fires when its picture has come back and the hand rests.

Undo and redo, presets, surprises and the link in the address happen in the browser alone. Panels
that hand over an edit, or follow the sliders, do it by two events on the document (see the script).
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fader_demo.blending import DETAIL
from fader_demo.editor import Edit
from fader_demo.pretrained import MAX_ATTRIBUTES
from fader_demo.ui.component import component
from fader_demo.ui.visit import Outdated, Refusal, Visit, held

if TYPE_CHECKING:
    from fader_demo.attributes import Attribute, AttributeSchema
    from fader_demo.card import ModelCard

SEARCHED = 12
"""With more attributes than this, there is a field to search them."""


class Move(BaseModel):
    """Where the sliders were moved. It may come from anybody: names are left to the editor."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    visit: Annotated[str, Field(max_length=64)]
    face: Annotated[str, Field(max_length=64)]
    now: Annotated[dict[str, float], Field(max_length=MAX_ATTRIBUTES)]
    detail: Annotated[float, Field(ge=0, le=1)] = DETAIL

    @classmethod
    def read(cls, value: Any) -> Move:
        """The move that a value of the sliders tells. Raises Refusal if it is none."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise Refusal("The sliders cannot stand like this. Reload the page.") from error

    def edit_of(self, visit: Visit) -> Edit | None:
        """The face that the visit shows, edited like this; None if the move is of another face."""
        return Edit(visit.face, self.now, self.detail) if self.face == visit.shown else None


def slider_panel(
    schema: AttributeSchema,
    card: ModelCard,
    model: str,
    answer: Callable[[Any], Awaitable[dict[str, Any]]],
) -> gr.HTML:
    """The panel of a model, grouped as its schema groups the attributes.

    answer: draws what the sliders tell; its result goes to the picture (see ``ui.result``), or is
    {"problem": "gone", "elsewhere" (another face is shown), "busy", "superseded", "refused" or
    "failed", "message": for the visitor}, with "retry_seconds" when it is busy.
    """

    async def draw(value: Any) -> dict[str, Any]:
        return await answer(value)

    return component(
        __file__,
        "sliders",
        "${panel}",
        panel=panel(schema, card, model),
        usual_detail=DETAIL,
        server_functions=[draw],
    )


def at_start(visit: Visit, moved: dict[str, Any] | None = None) -> dict[str, Any]:
    """The value that puts every slider where its attribute was estimated, but for those moved."""
    start = visit.face.values
    return {
        "visit": visit.key,
        "face": visit.shown,
        "start": start,
        "now": start | {name: value for name, value in (moved or {}).items() if name in start},
        "photos": [{**photo.source, "face": photo.face.index} for photo in visit.photos],
        "chosen": visit.chosen,
    }


def edit_of(visit: Visit | None, value: dict[str, Any] | None) -> Edit | None:
    """The chosen face and where its sliders stand; None if they stand for another face, or none.

    Raises Refusal when the photo is no longer held, or the sliders' value makes no sense.
    """
    return Move.read(value).edit_of(held(visit)) if value else None


def edit_now(visit: Visit | None, value: dict[str, Any] | None) -> Edit:
    """As ``edit_of``, where there has to be one. Raises Outdated if there is none."""
    edit = edit_of(visit, value)
    if not edit:
        raise Outdated
    return edit


def panel(schema: AttributeSchema, card: ModelCard, model: str) -> str:
    """The panel's HTML: what the page needs to know of a model, and a row for each attribute."""
    attributes = list(schema)
    groups = list(dict.fromkeys(attribute.group for attribute in attributes))
    members = {group: [a for a in attributes if a.group == group] for group in groups}
    presets = json.dumps([{"name": p.name, "values": dict(p.values)} for p in card.presets])
    return (
        f'<section class="sliders" aria-label="Attributes" data-model="{_text(model)}"'
        f' data-presets="{_text(presets)}">'
        f"{_header(card)}{_search(attributes)}"
        + "".join(_group(group, members[group], card) for group in groups)
        + _blending()
        + "</section>"
    )


def _header(card: ModelCard) -> str:
    options = "".join(
        f'<option value="{i}">{_text(preset.name)}</option>'
        for i, preset in enumerate(card.presets)
    )
    presets = (
        '<select class="presets" aria-label="Presets" disabled>'
        f'<option value="">Presets</option>{options}</select>'
        if options
        else ""
    )
    return f"""<header>
      <h2>Attributes</h2>
      <button type="button" class="undo" disabled aria-label="Undo"
              title="Undo (Ctrl+Z)">↶</button>
      <button type="button" class="redo" disabled aria-label="Redo"
              title="Redo (Ctrl+Shift+Z)">↷</button>
      <button type="button" class="reset-all" disabled>Reset all</button>
      <div class="ideas">{presets}
        <button type="button" class="surprise" disabled
                title="Moves some sliders, within what is believable">Surprise me</button>
      </div>
    </header>"""


def _search(attributes: Sequence[Attribute]) -> str:
    if len(attributes) <= SEARCHED:
        return ""
    return (
        '<input type="search" class="search" placeholder="Search" aria-label="Search attributes">'
    )


def _group(name: str, attributes: Sequence[Attribute], card: ModelCard) -> str:
    rows = "".join(_row(attribute, card) for attribute in attributes)
    return f"<fieldset><legend>{_text(name)}</legend>{rows}</fieldset>"


def _row(attribute: Attribute, card: ModelCard) -> str:
    """One fader: label, where it started, number, reset button, and the control itself."""
    label, key = _text(attribute.label), _key(attribute)
    low, high = card.believable(attribute.name)
    return f"""
      <div class="fader" id="slider-{key}" data-name="{_text(attribute.name)}"
           data-unit="{_text(attribute.unit)}" data-low="{low}" data-high="{high}">
        <label for="control-{key}">{label}</label>
        <span class="start" id="start-{key}"></span>
        {_number(attribute)}
        <button type="button" class="reset" disabled aria-label="Reset {label}"
                title="Back to where it started">↺</button>
        {_control(attribute)}
      </div>"""


def _blending() -> str:
    """The fader of the detail, which is no attribute: its row has no name."""
    span = 'min="0" max="1" step="0.01"'
    return f"""<fieldset><legend>Blending</legend>
      <div class="fader" id="slider-detail" data-unit="">
        <label for="control-detail">Detail</label>
        <span class="start" id="start-detail">1 is all of the photo's</span>
        <input type="number" class="number" {span} aria-label="Detail as a number" disabled>
        <button type="button" class="reset" disabled aria-label="Reset detail"
                title="Back to where it started">↺</button>
        <input type="range" {span} id="control-detail" class="control"
               aria-describedby="start-detail" disabled>
      </div></fieldset>"""


def _number(attribute: Attribute) -> str:
    if attribute.kind == "categorical":
        return ""
    unit = f" in {_text(attribute.unit)}" if attribute.unit else ""
    label = f'aria-label="{_text(attribute.label)} as a number{unit}"'
    return f'<input type="number" class="number" {_span(attribute)} {label} disabled>'


def _control(attribute: Attribute) -> str:
    key = _key(attribute)
    common = f'id="control-{key}" class="control" aria-describedby="start-{key}" disabled'
    if attribute.kind == "categorical":
        choices = enumerate(attribute.choices)
        options = "".join(f"<option value={i}>{_text(choice)}</option>" for i, choice in choices)
        return f"<select {common}>{options}</select>"
    return f'<input type="range" {_span(attribute)} {common}>'


def _span(attribute: Attribute) -> str:
    """Both ends of a slider and its finest step: a power of ten, a hundred or more to a track."""
    low, high = attribute.slider
    step = 10.0 ** math.floor(math.log10((high - low) / 100))
    return f'min="{low}" max="{high}" step="{step}"'


def _key(attribute: Attribute) -> str:
    return "".join(c if c.isalnum() else "-" for c in attribute.name)


def _text(text: str) -> str:
    """Text for the template, which is read as HTML, as Handlebars and as a JavaScript template."""
    escaped = html.escape(text)
    return "".join(f"&#{ord(c)};" if c in "$`{}\\" else c for c in escaped)
