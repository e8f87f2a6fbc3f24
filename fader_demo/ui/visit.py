"""What the page holds of one visitor, and how it speaks to people when something fails."""

from __future__ import annotations

import functools
import html
import logging
import secrets
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ParamSpec

import gradio as gr

from fader_demo.attributes import SchemaError
from fader_demo.photos import PhotoError
from fader_demo.serving import Busy

if TYPE_CHECKING:
    from fader_demo.editor import Face

P = ParamSpec("P")

KEPT_SECONDS = 3600
"""How long opened photos are held at most; leaving the page lets them go at once."""

MAX_PHOTOS = 8
"""Photos that are open side by side."""

MAX_PIXELS = 100_000_000
"""Pixels of a visit's photos together: 300 MB of memory."""

MAX_PIXELS_HELD = 1_000_000_000
"""The same, of all visits."""

OUR_FAULT = "Something went wrong on our side. Try again."
"""What a visitor is told of a failure that is none of theirs."""

_logger = logging.getLogger(__name__)


class Refusal(Exception):
    """What the visitor asked for cannot be done; the message tells them why, and what to do."""


class Gone(Refusal):
    """The visitor's photos are no longer held."""

    def __init__(self) -> None:
        super().__init__("This photo is no longer held here. Open it again.")


class Outdated(Exception):
    """What the visitor asked for is of a face that is not shown any more: nothing is to be done."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo that is open, and the face of it that is edited.

    source: what the page calls it, so that it can open the photo again if it is no longer held:
    {"upload": number of one of its files} or {"example": number}.
    """

    face: Face
    source: dict[str, int]


@dataclass(frozen=True, eq=False)
class Visit:
    """The open photos. Lives in gr.State, so that no other visitor can reach it.

    model: name of the model that opened them. chosen: the photo that is edited in large. greeting:
    nothing but the example is open that met the visitor, and whatever they open replaces it.
    key: nobody else's, for as long as the page is open; whoever knows it may draw the open photos.
    shown: another one whenever another face is chosen. The sliders carry it, so that a move made
    on the previous face is never drawn on this one.
    """

    model: str
    photos: tuple[Photo, ...] = ()
    chosen: int = 0
    greeting: bool = False
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    shown: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def faces(self) -> tuple[Face, ...]:
        """The edited face of every photo."""
        return tuple(photo.face for photo in self.photos)

    @property
    def face(self) -> Face:
        return self.photos[self.chosen].face

    def check_room(self, count: int) -> None:
        """Raises Refusal unless so many photos can be opened besides."""
        if len(self._kept) + count > MAX_PHOTOS:
            raise Refusal(f"{MAX_PHOTOS} photos can be open at once. Close some of them first.")

    @property
    def _kept(self) -> tuple[Photo, ...]:
        return () if self.greeting else self.photos

    def opened(self, photos: tuple[Photo, ...], chosen: int = 0) -> Visit:
        """With these photos besides, one of them chosen. Raises Refusal when it is full."""
        kept = self._kept
        self.check_room(len(photos))
        together = kept + photos
        if pixels(together) > MAX_PIXELS:
            raise Refusal(
                f"The open photos have more than {MAX_PIXELS // 1_000_000} megapixels together. "
                "Close one of them first."
            )
        return self._showing(photos=together, chosen=len(kept) + chosen, greeting=False)

    def chose(self, index: int) -> Visit:
        return self._showing(chosen=index)

    def closed(self, index: int) -> Visit:
        """Without one of several photos; the one edited in large stays, if it is not that one."""
        photos = self.photos[:index] + self.photos[index + 1 :]
        if index == self.chosen:
            return self._showing(photos=photos, chosen=min(index, len(photos) - 1))
        return replace(self, photos=photos, chosen=self.chosen - (index < self.chosen))

    def with_face(self, face: Face) -> Visit:
        """Another face of the photo that is chosen."""
        photos = list(self.photos)
        photos[self.chosen] = replace(photos[self.chosen], face=face)
        return self._showing(photos=tuple(photos))

    def adopted(self, model: str, adopt: Callable[[Face], Face]) -> Visit:
        """The same photos with another model, whose editor adopts their faces."""
        photos = tuple(replace(photo, face=adopt(photo.face)) for photo in self.photos)
        return self._showing(model=model, photos=photos)

    def _showing(self, **changes: Any) -> Visit:
        return replace(self, **changes, shown=secrets.token_hex(4))


def pixels(photos: Iterable[Photo]) -> int:
    """How many pixels these photos have; one that several visits have open counts once."""
    images = {id(photo.face.photo): photo.face.photo for photo in photos}
    return sum(image.width * image.height for image in images.values())


def held(visit: Visit | None) -> Visit:
    """The visit, if its photos are still held. Raises Gone."""
    if visit is None:
        raise Gone
    return visit


def in_plain_words(handler: Callable[P, Any]) -> Callable[P, Any]:
    """Make a handler's failures toasts: a refusal's own words, and of all else no details.

    The page stays as it was before.
    """

    @functools.wraps(handler)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return handler(*args, **kwargs)
        except Outdated:
            pass
        except (PhotoError, SchemaError, Refusal, Busy) as refusal:
            tell(str(refusal))
        except Exception:
            log_failure(handler.__qualname__)
            tell(OUR_FAULT)
        return gr.skip()

    return wrapped


def log_failure(what: str) -> None:
    """Logs the exception that is being handled: where it arose, and not what it says.

    Its message may name a visitor's file.
    """
    kind, _, trace = sys.exc_info()
    frames = "".join(traceback.format_tb(trace))
    _logger.error("%s failed: %s\n%s", what, kind.__name__ if kind else "", frames)


def tell(message: str) -> None:
    """A toast with this plain text."""
    gr.Warning(html.escape(message, quote=False))
