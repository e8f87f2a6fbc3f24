"""The edited photo at its full resolution, as a PNG that is drawn when it is asked for."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from PIL import Image

FILE_NAME = "portrait-edited.png"

_COMPRESSION = 1  # zlib level: a quarter of the default's time, for a sixth more bytes


def download_button() -> gr.HTML:
    """The button. A file for its value makes the browser save that file."""
    return gr.HTML(
        value=None,
        html_template=(
            '<button type="button" class="button primary download">Download PNG</button>'
        ),
        js_on_load=_SAVE,
        apply_default_css=False,
        elem_id="download",
    )


def png_file(image: Image.Image, cache: str) -> dict[str, Any]:
    """Write an image below Gradio's cache, which is swept, and name it for the browser."""
    folder = Path(cache) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    pixels_only = Image.new(image.mode, image.size)
    pixels_only.paste(image)  # leaves EXIF, comments and profiles behind
    pixels_only.save(folder / FILE_NAME, "PNG", compress_level=_COMPRESSION)
    return FileData(path=str(folder / FILE_NAME), orig_name=FILE_NAME).model_dump()


_SAVE = """
element.querySelector("button").addEventListener("click", () => trigger("click"));
watch("value", () => {
  if (!props.value) return;
  const link = document.createElement("a");
  link.href = props.value.url;
  link.download = props.value.orig_name;
  link.click();
});
"""
