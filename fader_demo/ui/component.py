"""What all components of ours have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr


def component(module: str, name: str, template: str, value: Any = None, **props: Any) -> gr.HTML:
    """A component of a module: its template, and the script that lies beside it.

    module: the module's ``__file__``. name: the element's id. props: what else template and script
    are to know.
    """
    return gr.HTML(
        value=value,
        html_template=template,
        js_on_load=Path(module).with_suffix(".js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id=name,
        **props,
    )
