"""The open photos under the same sliders, so that one strength can be compared on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image

from fader_demo.ui.component import component
from fader_demo.ui.pictures import data_uri


def photo_tray() -> gr.HTML:
    """The edited faces; `select` and `remove` fire with the index of one of them."""
    return component(__file__, "tray", _TEMPLATE)


def laid_out(images: Sequence[Image.Image], chosen: int) -> dict[str, Any]:
    """The value that shows these faces, one of them marked as the one edited in large."""
    return {"images": [data_uri(image) for image in images], "chosen": chosen}


_TEMPLATE = """
<div class="tray">
  <ol>${(value?.images ?? []).map((image, i) => `
    <li>
      <button type="button" class="choose" aria-label="Edit photo ${i + 1} in large"
              aria-pressed="${i === value.chosen}"><img src="${image}" alt=""></button>
      <button type="button" class="remove" aria-label="Close photo ${i + 1}"
              ${value.images.length < 2 ? "hidden" : ""}>×</button>
    </li>`).join("")}
  </ol>
  <p>Open more photos, eight at most, to see them all under the same sliders: what you moved
     stands at the same strength on every face.</p>
</div>
"""
