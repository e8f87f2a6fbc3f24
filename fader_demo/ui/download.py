"""Pictures at their full resolution, as files that are drawn when they are asked for."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from PIL import Image

from fader_demo.saving import PICTURE_FORMATS, save_picture
from fader_demo.ui.visit import Refusal


def download_button(name: str, label: str, primary: bool = False) -> gr.HTML:
    """A button and a choice of `PICTURE_FORMATS`; `click` fires with {"format": one of them}.

    A file for its value makes the browser save that file.
    """
    options = "".join(
        f'<option value="{end}">{kind}</option>' for end, kind in PICTURE_FORMATS.items()
    )
    style = "button primary" if primary else "button"
    return gr.HTML(
        value=None,
        html_template=(
            f'<div class="download"><button type="button" class="{style}">{label}</button>'
            f'<select aria-label="File type" class="button">{options}</select></div>'
        ),
        js_on_load=_SAVE,
        apply_default_css=False,
        elem_id=name,
        elem_classes="download-button",
        min_width=140,
    )


def wanted_format(event: gr.EventData) -> str:
    """Which of `PICTURE_FORMATS` the visitor chose."""
    end = event._data.get("format")
    if end not in PICTURE_FORMATS:
        raise Refusal("There is no such file type. Choose another.")
    return str(end)


def new_file(name: str, cache: str) -> Path:
    """Where to write a file for a visitor: below Gradio's cache, which is swept."""
    folder = Path(cache) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    return folder / name


def offered(path: Path) -> dict[str, Any]:
    """A written file as a component's value."""
    return FileData(path=str(path), orig_name=path.name).model_dump()


def picture_file(
    image: Image.Image, name: str, end: str, cache: str, profile: bytes | None = None
) -> dict[str, Any]:
    """Writes a picture (``save_picture``) and offers it as ``name``.``end``."""
    path = new_file(f"{name}.{end}", cache)
    save_picture(image, path, PICTURE_FORMATS[end], profile)
    return offered(path)


_SAVE = """
const button = element.querySelector("button");
button.addEventListener("click", () => {
  trigger("click", { format: element.querySelector("select").value });
});
watch("value", () => {
  if (!props.value) return;
  const link = document.createElement("a");
  link.href = props.value.url;
  link.download = props.value.orig_name;
  link.click();
});
"""
