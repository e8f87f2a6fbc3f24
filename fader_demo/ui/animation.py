"""A clip of the face on its way from one edit to another, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fader_demo.blending import DETAIL
from fader_demo.clips import CLIP_FORMATS
from fader_demo.ui.component import component
from fader_demo.ui.visit import Refusal

if TYPE_CHECKING:
    from fader_demo.attributes import AttributeSchema

FRAMES = 48
"""Pictures there and back."""
FRAMES_PER_SECOND = 24
CLIP_SIDE = 512
"""Longest side of a clip in pixels."""

_TYPES = {".mp4": "MP4, a film", ".gif": "GIF", ".webp": "WebP, an animation"}


@dataclass(frozen=True)
class Journey:
    """From one set of values to another; what is not named stays where the face started."""

    start: dict[str, float]
    end: dict[str, float]
    detail: float
    suffix: str


def animation_panel() -> gr.HTML:
    """What to animate, and the clip; `make` fires with what ``asked_for`` reads.

    Its value is a file (``ui.download.written_file``), or None.
    """
    types = "".join(f'<option value="{s}">{_TYPES[s]}</option>' for s in CLIP_FORMATS)
    return component(__file__, "animation", _TEMPLATE.replace("TYPES", types))


class _Place(BaseModel):
    moved: dict[str, float]


class _Asked(BaseModel):
    """What `make` fires with. It may come from anybody."""

    model_config = ConfigDict(strict=True)

    start: Annotated[_Place, Field(alias="from")]
    end: Annotated[_Place, Field(alias="to")]
    suffix: str
    detail: Annotated[float, Field(ge=0, le=1)] = DETAIL


def asked_for(event: gr.EventData, schema: AttributeSchema) -> Journey:
    """The clip that the visitor asked for. Raises Refusal; values are left to the editor."""
    try:
        asked = _Asked.model_validate(event._data)
    except ValidationError as error:
        raise Refusal("Choose where the animation begins and ends.") from error
    start, end = (
        {name: value for name, value in place.moved.items() if name in schema.names}
        for place in (asked.start, asked.end)
    )
    if start == end:
        raise Refusal("Nothing moves between these two. Choose two that differ.")
    if asked.suffix not in CLIP_FORMATS:
        raise Refusal("There is no such file type. Choose another.")
    return Journey(start, end, asked.detail, asked.suffix)


_TEMPLATE = """
<div class="animation">
  <div class="buttons">
    <label>What moves <select class="what"></select></label>
    <label class="ends">From <select class="from"></select></label>
    <label class="ends">To <select class="to"></select></label>
    <label>File <select class="suffix">TYPES</select></label>
    <button type="button" class="button primary make" disabled>Make the clip</button>
  </div>
  <div class="clip" hidden>
    <video muted loop autoplay playsinline controls></video>
    <img alt="The clip">
    <a class="button">Save the clip</a>
  </div>
</div>
"""
