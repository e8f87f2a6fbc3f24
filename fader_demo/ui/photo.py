"""Ways for a photo to get in: a file, a drop anywhere on the page, the clipboard, the camera."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fader_demo.ui.component import component
from fader_demo.ui.visit import Refusal

MAX_MEGABYTES = 25
"""Largest file that is taken."""


_Number = Annotated[int, Field(ge=0)]


class Wanted(BaseModel):
    """A photo to open: a file of the page's, uploaded, or an example; and which face in it."""

    model_config = ConfigDict(strict=True)

    upload: _Number | None = None
    file: dict[str, Any] = {}
    example: _Number | None = None
    face: _Number = 0

    @property
    def source(self) -> dict[str, int]:
        """As ``Photo.source``."""
        return self.model_dump(include={"upload", "example"}, exclude_none=True)


class Opening(BaseModel):
    """Photos to open together, and which of them is to be edited in large."""

    photos: Annotated[list[Wanted], Field(min_length=1)]
    chosen: _Number = 0

    @classmethod
    def read(cls, value: Any) -> Opening:
        """What the value of the input asks for. Raises Refusal if it makes no sense."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise Refusal(_MISSING) from error


def photo_input() -> gr.HTML:
    """The buttons. `upload` fires once photos have reached the server; the value is an Opening.

    The page keeps its files, and asks for them once more if the server no longer holds the photos.
    """
    return component(__file__, "photo", _TEMPLATE, max_megabytes=MAX_MEGABYTES)


def uploaded_paths(value: list[dict[str, Any]] | None) -> list[Path]:
    """The uploaded files. Only with Gradio's own mark have they been checked to be uploads."""
    return [_path(file) for file in value or [{}]]


def _path(file: Any) -> Path:
    if not isinstance(file, dict):
        raise Refusal(_MISSING)
    path = Path(str(file.get("path", "")))
    marked = isinstance(file.get("meta"), dict) and file["meta"].get("_type") == "gradio.FileData"
    if not marked or not path.is_file():
        raise Refusal(_MISSING)
    return path


_MISSING = "The photo did not arrive. Try again."

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
