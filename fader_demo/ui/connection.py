"""What the page does when its connection to the server breaks off (see the script)."""

from __future__ import annotations

import gradio as gr

from fader_demo.ui.component import component


def connection() -> gr.HTML:
    """Shows nothing."""
    return component(__file__, "connection", "")
