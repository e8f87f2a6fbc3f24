"""One attribute at several strengths, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from fader_demo.ui.download import download_button
from fader_demo.ui.pictures import picture
from fader_demo.ui.visit import Refusal

if TYPE_CHECKING:
    from fader_demo.attributes import Attribute

FEWEST, MOST = 3, 9
_SHOWN = 5


class Strip:
    """`attribute`, `count`, `low` and `high` say what is shown, `picture` shows it."""

    def __init__(self, schema: Sequence[Attribute]) -> None:
        first = next(iter(schema))
        low, high = first.slider
        with gr.Row(elem_classes="settings"):
            self.attribute = gr.Dropdown(**choices(schema), label="Attribute", min_width=160)
            self.count = gr.Slider(
                FEWEST, MOST, _SHOWN, step=1, label="Strengths", min_width=160, buttons=[]
            )
            self.low = gr.Number(low, label="From", min_width=80, step=0.1)
            self.high = gr.Number(high, label="To", min_width=80, step=0.1)
            self.download = download_button("download-strip", "Save the strip")
        self.picture = picture(
            "strip", "The face at rising strengths of this attribute", scrolls=True
        )

    @property
    def settings(self) -> list[Any]:
        return [self.attribute, self.count, *self.ends]

    @property
    def ends(self) -> list[Any]:
        return [self.low, self.high]

    @staticmethod
    def for_attribute(attribute: Attribute) -> list[Any]:
        """Updates of `ends`; a categorical attribute has none."""
        ranged = attribute.kind != "categorical"
        return [gr.Number(end, visible=ranged) for end in attribute.slider]

    @staticmethod
    def for_schema(schema: Sequence[Attribute]) -> list[Any]:
        """Updates of `attribute` and `ends` for another model."""
        return [gr.Dropdown(**choices(schema)), *Strip.for_attribute(next(iter(schema)))]


def strengths(
    attribute: Attribute, count: int, low: float | None = None, high: float | None = None
) -> list[float]:
    """What ``Attribute.spread`` gives. Raises Refusal for ends that are equal."""
    steps = attribute.spread(min(max(int(count), 2), MOST), low, high)
    if steps[0] == steps[-1]:
        raise Refusal(
            f"{attribute.label} goes from {attribute.slider[0]:g} to {attribute.slider[1]:g}: "
            "give two different numbers there."
        )
    return steps


def choices(schema: Sequence[Attribute], chosen: int = 0) -> dict[str, Any]:
    """What a dropdown of attributes is made with; ``chosen`` is the position of its first value."""
    labelled = [(attribute.label, attribute.name) for attribute in schema]
    return {"choices": labelled, "value": labelled[chosen][1]}
