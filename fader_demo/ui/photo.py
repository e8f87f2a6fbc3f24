"""Ways for a photo to get in: a file, a drop anywhere on the page, the clipboard, the camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from fader_demo.ui.component import component
from fader_demo.ui.visit import Refusal

MAX_MEGABYTES = 25
"""Largest file that is taken."""


def photo_input() -> gr.HTML:
    """The buttons. `upload` fires once a photo has reached the server; the value is its file."""
    return component(__file__, "photo", _TEMPLATE, max_megabytes=MAX_MEGABYTES)


def uploaded_paths(value: list[dict[str, Any]] | None) -> list[Path]:
    """The uploaded files. Only with Gradio's own mark have they been checked to be uploads."""
    return [_path(file) for file in value or [{}]]


def _path(file: dict[str, Any]) -> Path:
    path = Path(str(file.get("path", "")))
    marked = isinstance(file.get("meta"), dict) and file["meta"].get("_type") == "gradio.FileData"
    if not marked or not path.is_file():
        raise Refusal("The photo did not arrive. Try again.")
    return path


_TEMPLATE = """
<div class="photo-input">
  <label class="button primary">Open photos
    <input type="file" accept="image/*" multiple aria-label="Open photos">
  </label>
  <button type="button" class="button paste">Paste</button>
  <button type="button" class="button camera">Camera</button>
  <p class="hint">or drop them anywhere on the page</p>
  <dialog aria-label="Camera">
    <video autoplay muted playsinline></video>
    <div>
      <button type="button" class="button primary shoot">Take the photo</button>
      <button type="button" class="button cancel">Cancel</button>
    </div>
  </dialog>
</div>
"""
