"""A row of small pictures to choose from: the examples, and the faces of a photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image

from fader_demo.ui.component import component
from fader_demo.ui.pictures import data_uri
from fader_demo.ui.visit import Refusal

_SIDE = 112  # pixels; twice what is shown, for sharp screens


def thumbnail_row(
    name: str, title: str, noun: str, images: Sequence[Image.Image] = (), fewest: int = 1
) -> gr.HTML:
    """Buttons with pictures; `select` fires with the index of the one that is pressed.

    title: the line above them. noun: what one of them is called. fewest: with fewer pictures than
    this there is nothing to choose, and nothing is shown.
    """
    props = {"title": title, "noun": noun, "fewest": fewest}
    return component(__file__, name, _TEMPLATE, thumbnails(images), **props)


def thumbnails(images: Sequence[Image.Image], chosen: int | None = None) -> dict[str, Any]:
    """The value that shows these images, one of them marked as chosen."""
    return {"images": [data_uri(_square(image)) for image in images], "chosen": chosen}


def pressed(event: gr.EventData, count: int) -> int:
    """Which of `count` pictures the visitor pressed."""
    index = event._data.get("index")
    if type(index) is not int or not 0 <= index < count:
        raise Refusal("There is no such picture any more. Choose another.")
    return index


def _square(image: Image.Image) -> Image.Image:
    """The middle of an image, `_SIDE` pixels square."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    middle = image.crop((left, top, left + side, top + side)).convert("RGB")
    return middle.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)


_TEMPLATE = """
<fieldset class="thumbnails" ${value.images.length < fewest ? "hidden" : ""}>
  <legend>${title}</legend>
  ${value.images.map((image, i) => `
    <button type="button" aria-label="${noun} ${i + 1}" aria-pressed="${i === value.chosen}">
      <img src="${image}" alt="">
    </button>`).join("")}
</fieldset>
"""
