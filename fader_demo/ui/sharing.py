"""An edit that travels without the photo: as a link, and as a file of settings."""

from __future__ import annotations

from pathlib import Path

import gradio as gr


def sharing_panel() -> gr.HTML:
    """The buttons. All happens in the browser; the file is as in ``fader_demo.settings``."""
    return gr.HTML(
        value=None,
        html_template=_TEMPLATE,
        js_on_load=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="sharing",
    )


_TEMPLATE = """
<div class="sharing">
  <p>The sliders, without the photo: a link opens the same edit on whatever photo is opened there;
     a file works here and with <code>python -m fader_demo edit --settings</code>.</p>
  <div class="buttons">
    <button type="button" class="button link" disabled>Copy link</button>
    <button type="button" class="button save" disabled>Save settings</button>
    <label class="button load">Load settings
      <input type="file" accept=".json,application/json" aria-label="Load settings">
    </label>
  </div>
  <p class="done" role="status"></p>
</div>
"""
