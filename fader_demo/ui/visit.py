"""What the page holds of one visitor, and how it speaks to people when something fails."""

from __future__ import annotations

import functools
import html
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ParamSpec

import gradio as gr

from fader_demo.photos import PhotoError

if TYPE_CHECKING:
    from fader_demo.editor import Face

P = ParamSpec("P")

KEPT_SECONDS = 3600
"""How long opened photos are held at most; leaving the page lets them go at once."""

MAX_PHOTOS = 8
"""Photos that are open side by side."""

MAX_PIXELS = 100_000_000
"""Pixels of all open photos together: 300 MB of memory."""

OUR_FAULT = "Something went wrong on our side. Try again."
"""What a visitor is told of a failure that is none of theirs."""

_logger = logging.getLogger(__name__)


class Refusal(Exception):
    """What the visitor asked for cannot be done; the message tells them why, and what to do."""


@dataclass(frozen=True, eq=False)
class Visit:
    """The open faces, one to a photo. Lives in gr.State, so that no other visitor can reach it.

    model: name of the model that opened them. chosen: the face that is edited in large. greeting:
    nothing but the example is open that met the visitor, and whatever they open replaces it.
    key: a new one whenever another face is chosen. The sliders carry it, so that a move made on
    the previous face is never drawn on this one.
    """

    model: str
    faces: tuple[Face, ...]
    chosen: int = 0
    greeting: bool = False
    key: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def face(self) -> Face:
        return self.faces[self.chosen]

    def opened(self, faces: tuple[Face, ...]) -> Visit:
        """With these faces besides, the first of them chosen. Raises Refusal when it is full."""
        kept = () if self.greeting else self.faces
        together = kept + faces
        if len(together) > MAX_PHOTOS:
            raise Refusal(f"{MAX_PHOTOS} photos can be open at once. Close one of them first.")
        if sum(face.photo.width * face.photo.height for face in together) > MAX_PIXELS:
            raise Refusal(
                f"The open photos have more than {MAX_PIXELS // 1_000_000} megapixels together. "
                "Close one of them first."
            )
        return Visit(self.model, together, len(kept))

    def chose(self, index: int) -> Visit:
        return Visit(self.model, self.faces, index)

    def closed(self, index: int) -> Visit:
        """Without one of several photos; the one edited in large stays, if it is not that one."""
        faces = self.faces[:index] + self.faces[index + 1 :]
        if index == self.chosen:
            return Visit(self.model, faces, min(index, len(faces) - 1))
        return replace(self, faces=faces, chosen=self.chosen - (index < self.chosen))

    def with_face(self, face: Face) -> Visit:
        """Another face of the photo that is chosen."""
        faces = list(self.faces)
        faces[self.chosen] = face
        return Visit(self.model, tuple(faces), self.chosen)


def held(visit: Visit | None) -> Visit:
    """The visit, if its photos are still held."""
    if visit is None:
        raise Refusal("This photo is no longer held here. Open it again.")
    return visit


def in_plain_words(handler: Callable[P, Any]) -> Callable[P, Any]:
    """Make a handler's failures toasts: a PhotoError's own words, and of all else no details.

    The page stays as it was before.
    """

    @functools.wraps(handler)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return handler(*args, **kwargs)
        except (PhotoError, Refusal) as refusal:
            tell(str(refusal))
        except Exception:
            _logger.exception("%s failed", handler.__qualname__)
            tell(OUR_FAULT)
        return gr.skip()

    return wrapped


def tell(message: str) -> None:
    """A toast with this plain text."""
    gr.Warning(html.escape(message, quote=False))
