"""What is known of the model: its attributes, what they move along with them, and its card."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import gradio as gr

if TYPE_CHECKING:
    from fader_demo.attributes import Attribute, AttributeSchema
    from fader_demo.card import ModelCard

NOTED = 0.5
"""Shift of another attribute's score that is told: half the distance of its average faces."""


def about_panel(card: ModelCard, schema: AttributeSchema) -> gr.Markdown:
    """The text, in a frame that scrolls where tables are wider than the page."""
    with gr.HTML(
        html_template='<div class="frame" tabindex="0">@children</div>',
        js_on_load=None,
        apply_default_css=False,
        elem_id="about",
    ):
        return gr.Markdown(described(card, schema))


def described(card: ModelCard, schema: AttributeSchema) -> str:
    """Markdown. A card may come from a stranger, so its pictures are left out: a browser would
    fetch them from elsewhere."""
    rows = "\n".join(_row(card, attribute, schema) for attribute in schema)
    own_words = re.sub(r"!\[[^]]*\]\([^)]*\)|!\[[^]]*\]\[[^]]*\]|<img\b[^>]*>", "", card.text)
    return f"""
### The attributes of this model

| attribute | believable from, to | moves along, from half an attribute on | still in the latent |
|---|---|---|---|
{rows}

"Believable" is where a slider's track is broad: the stretch in which an independent judge sees
the attribute change with the slider. "Still in the latent" is how well a freshly trained probe
reads the attribute off the latent, where nothing of it should be left: 0.5 is chance, 1 is
certainty. What was not measured is left blank.

{own_words}
"""


def _row(card: ModelCard, attribute: Attribute, schema: AttributeSchema) -> str:
    low, high = card.believable(attribute.name)
    leakage = card.leakage(attribute.name)
    cells = [
        attribute.label,
        f"{low:g}, {high:g}",
        "; ".join(_along(card, attribute, schema)) or " ",
        " " if leakage is None else f"{leakage:.2f}",
    ]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _along(card: ModelCard, attribute: Attribute, schema: AttributeSchema) -> list[str]:
    entangled = card.entangled(attribute.name, NOTED)
    return [
        f"{schema[name].label} {shift:+.1f} ({'up' if way == 'on' else 'down'})"
        for name, ways in entangled.items()
        for way, shift in ways.items()
    ]
