"""The edited photo: beside the original by a wipe, or in its place while something is held."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import gradio as gr

from fader_demo.ui.component import component
from fader_demo.ui.pictures import data_uri

if TYPE_CHECKING:
    from PIL import Image

    from fader_demo.editor import Edit, Face


def result_panel(source: str) -> gr.HTML:
    """The picture and what is done with it. It shows what "fader:drawn" brings (see the script).

    source: what it shows until then, a data URI or "".
    """
    return component(__file__, "result", _TEMPLATE, first=source)


def drawn(edit: Edit, picture: Image.Image, began: float) -> dict[str, Any]:
    """What the panel shows: the picture, of what edit it is, and how long it took.

    began: when it was asked for, by ``time.perf_counter``.
    """
    source = data_uri(picture)
    milliseconds = 1000 * (time.perf_counter() - began)
    return {
        "source": source,
        "box": _box(edit.face),
        "moved": edit.moved,
        "detail": edit.detail,
        "milliseconds": round(milliseconds, 1),
    }


def _box(face: Face) -> list[float]:
    """Where the aligned face lies: left, top, right, bottom as fractions of the photo."""
    corners = face.alignment.corners / face.photo.size
    return [*corners.min(axis=0).clip(0, 1).tolist(), *corners.max(axis=0).clip(0, 1).tolist()]


_TEMPLATE = """
<div class="result">
  <figure class="picture" title="Hold to see the original">
    <div class="layer">
      <img class="edited" alt="The photo with the edit" draggable="false" hidden></div>
    <div class="layer wiped"><img class="before" alt="" draggable="false" hidden></div>
    <input type="range" class="wipe" min="0" max="100" value="50" step="0.5"
           aria-label="Wipe between the original, at the left, and the edit" hidden>
    <figcaption>Edited</figcaption>
    <span class="times" title="On the server, and from the move to the picture"></span>
  </figure>
  <p class="status" role="status"></p>
  <div class="tools" role="toolbar" aria-label="Compare">
    <button type="button" class="button hold" title="Or hold the picture, or the O key">
      Hold for original</button>
    <button type="button" class="button wiping" aria-pressed="false">Wipe</button>
    <button type="button" class="button zoom" aria-pressed="false"
            aria-label="Zoom to face">Zoom</button>
    <button type="button" class="button pin" disabled aria-label="Pin this edit">Pin</button>
  </div>
</div>
"""
