"""The faders: one slider for every attribute, or a list of choices for a categorical one.

All of them are one component, so that a new face sets every start in one event and a move costs
one answer, however many attributes the model has. Its value is

    {"face": key of the visit, "start": {name: number}, "now": {name: number}}

or None while no face is open. `change` fires for every move, by hand or not; `release` when a hand
lets go, a key is pressed, or a new face arrives.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from fader_demo.ui.visit import Visit, held

if TYPE_CHECKING:
    from fader_demo.attributes import Attribute
    from fader_demo.editor import Face


def slider_panel(schema: Sequence[Attribute]) -> gr.HTML:
    """The panel, grouped as the schema groups its attributes."""
    return gr.HTML(
        value=None,
        html_template=_panel(schema),
        js_on_load=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="sliders",
    )


def at_start(visit: Visit) -> dict[str, Any]:
    """The value that puts every slider where its attribute was estimated."""
    return {"face": visit.key, "start": visit.face.values, "now": visit.face.values}


def edit_of(
    visit: Visit | None, value: dict[str, Any] | None
) -> tuple[Face, dict[str, float]] | None:
    """The open face, and where the sliders stand; None if they stand for another face, or none.

    Raises Refusal when the photo is no longer held. The editor checks names and numbers.
    """
    if not value:
        return None
    held_visit = held(visit)
    return (held_visit.face, value["now"]) if value["face"] == held_visit.key else None


def _panel(schema: Sequence[Attribute]) -> str:
    groups = list(dict.fromkeys(attribute.group for attribute in schema))
    members = {group: [a for a in schema if a.group == group] for group in groups}
    return (
        '<section class="sliders" aria-label="Attributes"><header><h2>Attributes</h2>'
        '<button type="button" class="reset-all" disabled>Reset all</button></header>'
        + "".join(_group(group, members[group]) for group in groups)
        + "</section>"
    )


def _group(name: str, attributes: Sequence[Attribute]) -> str:
    rows = "".join(_row(attribute) for attribute in attributes)
    return f"<fieldset><legend>{_text(name)}</legend>{rows}</fieldset>"


def _row(attribute: Attribute) -> str:
    """One fader: label, where it started, number, reset button, and the control itself."""
    label, key = _text(attribute.label), _key(attribute)
    return f"""
      <div class="fader" id="slider-{key}"
           data-name="{_text(attribute.name)}" data-unit="{_text(attribute.unit)}">
        <label for="control-{key}">{label}</label>
        <span class="start" id="start-{key}"></span>
        {_number(attribute)}
        <button type="button" class="reset" disabled aria-label="Reset {label}"
                title="Back to where it started">↺</button>
        {_control(attribute)}
      </div>"""


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
    """Both ends of a slider and its finest step: a power of ten, some hundreds to a track."""
    low, high = attribute.slider
    step = 10.0 ** math.floor(math.log10((high - low) / 200))
    return f'min="{low}" max="{high}" step="{step}"'


def _key(attribute: Attribute) -> str:
    return "".join(c if c.isalnum() else "-" for c in attribute.name)


def _text(text: str) -> str:
    """Text for the template, which is read as HTML, as Handlebars and as a JavaScript template."""
    escaped = html.escape(text)
    return "".join(f"&#{ord(c)};" if c in "$`{}\\" else c for c in escaped)
