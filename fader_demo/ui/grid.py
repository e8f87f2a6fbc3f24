"""Two attributes at once: the strengths of one down, those of the other across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from fader_demo.ui.download import download_button
from fader_demo.ui.pictures import picture
from fader_demo.ui.strip import choices

if TYPE_CHECKING:
    from fader_demo.attributes import Attribute

FEWEST, MOST = 2, 6


class Grid:
    """`rows`, `columns` and `count` say what is shown, `picture` shows it."""

    def __init__(self, schema: Sequence[Attribute]) -> None:
        down, across = _choices(schema)
        with gr.Row(elem_classes="settings"):
            self.rows = gr.Dropdown(**down, label="Down", min_width=160)
            self.columns = gr.Dropdown(**across, label="Across", min_width=160)
            self.count = gr.Slider(
                FEWEST, MOST, 4, step=1, label="Strengths", min_width=160, buttons=[]
            )
            self.download = download_button("download-grid", "Save the grid")
        self.picture = picture("grid", "The face at strengths of two attributes")

    @property
    def settings(self) -> list[Any]:
        return [self.rows, self.columns, self.count]

    @staticmethod
    def for_schema(schema: Sequence[Attribute]) -> list[Any]:
        """Updates of `rows` and `columns` for another model."""
        return [gr.Dropdown(**each) for each in _choices(schema)]


def _choices(schema: Sequence[Attribute]) -> list[dict[str, Any]]:
    """What both dropdowns offer; they begin with the last and the first attribute."""
    return [choices(schema, chosen) for chosen in (-1, 0)]
