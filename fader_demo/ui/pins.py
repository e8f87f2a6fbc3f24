"""Edits that are kept to be compared and returned to. They live in the browser alone."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

MAX_PINS = 8


def pin_row() -> gr.HTML:
    """The pinned edits, side by side; hidden while there is none."""
    return gr.HTML(
        value=None,
        html_template='<section class="pins" aria-label="Pinned edits" hidden><ol></ol></section>',
        js_on_load=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="pins",
        most=MAX_PINS,
    )
