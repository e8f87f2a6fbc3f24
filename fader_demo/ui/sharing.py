"""An edit that travels without the photo: as a link, and as a file of settings."""

from __future__ import annotations

import gradio as gr

from fader_demo.ui.component import component


def sharing_panel() -> gr.HTML:
    """The buttons. All happens in the browser; the file is as in ``fader_demo.settings``."""
    return component(__file__, "sharing", _TEMPLATE)


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
