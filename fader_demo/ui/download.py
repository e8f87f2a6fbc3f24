"""Pictures at their full resolution, as files that are drawn when they are asked for."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from PIL import Image

from fader_demo.saving import PICTURE_FORMATS, PictureError, save_picture
from fader_demo.ui.visit import Refusal

NO_FILES = (
    "The server cannot write files at the moment; its disk may be full. Try again in some minutes."
)
"""What a visitor is told where a file of theirs cannot be written."""

_logger = logging.getLogger(__name__)


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
    end = event._data.get("format") if isinstance(event._data, dict) else None
    if not isinstance(end, str) or end not in PICTURE_FORMATS:
        raise Refusal("There is no such file type. Choose another.")
    return end


def written_file(name: str, cache: str, write: Callable[[Path], None]) -> dict[str, Any]:
    """A new file of a visitor's, as a component's value: below Gradio's cache, which is swept.

    write: writes a whole file to a path, or raises and leaves nothing there. An OSError of its
    becomes a Refusal. Whatever fails, nothing stays.
    """
    folder = Path(cache) / secrets.token_hex(16)
    try:
        folder.mkdir(parents=True)
        write(folder / name)
    except OSError as error:
        _logger.error("A file could not be written: %s", error.strerror)
        raise Refusal(NO_FILES) from error
    finally:
        with suppress(OSError):  # not empty: the file is there
            folder.rmdir()
    return FileData(path=str(folder / name), orig_name=name).model_dump()


def picture_file(
    image: Image.Image, name: str, end: str, cache: str, profile: bytes | None = None
) -> dict[str, Any]:
    """Writes a picture (``save_picture``) and offers it as ``name``.``end``. Raises Refusal."""

    def write(path: Path) -> None:
        save_picture(image, path, PICTURE_FORMATS[end], profile)

    try:
        return written_file(f"{name}.{end}", cache, write)
    except PictureError as error:
        raise Refusal(str(error)) from error


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
