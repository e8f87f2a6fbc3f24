"""One attribute at several strengths, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import gradio as gr

from fader_demo.ui.pictures import picture

if TYPE_CHECKING:
    from fader_demo.attributes import Attribute

COUNT = 5


class Strengths:
    """`attribute` is the choice of the attribute, `strip` the picture."""

    def __init__(self, schema: Sequence[Attribute]) -> None:
        with gr.Column(elem_id="strengths"):
            self.attribute = gr.Dropdown(
                choices=[(attribute.label, attribute.name) for attribute in schema],
                value=schema[0].name,
                label="One attribute at several strengths",
                info="The other attributes stand where their sliders are.",
                elem_id="strength-attribute",
            )
            self.strip = picture("strip", "The face at rising strengths of this attribute")


def strengths(attribute: Attribute) -> list[float]:
    """`COUNT` strengths from end to end of the slider; every choice of a categorical attribute."""
    if attribute.kind == "categorical":
        return [float(index) for index in range(len(attribute.choices))]
    low, high = attribute.slider
    return [low + (high - low) * i / (COUNT - 1) for i in range(COUNT)]
