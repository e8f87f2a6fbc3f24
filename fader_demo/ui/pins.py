"""Edits that are kept to be compared and returned to. They live in the browser alone."""

from __future__ import annotations

import gradio as gr

from fader_demo.blending import DETAIL
from fader_demo.ui.component import component

MAX_PINS = 8


def pin_row() -> gr.HTML:
    """The pinned edits, side by side; hidden while there is none."""
    template = '<section class="pins" aria-label="Pinned edits" hidden><ol></ol></section>'
    return component(__file__, "pins", template, most=MAX_PINS, usual_detail=DETAIL)
