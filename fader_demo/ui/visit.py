"""What the page holds of one visitor, and how it speaks to people when something fails."""

from __future__ import annotations

import functools
import html
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec

import gradio as gr

from fader_demo.photos import PhotoError

if TYPE_CHECKING:
    from fader_demo.editor import Face

P = ParamSpec("P")

KEPT_SECONDS = 3600
"""How long an opened photo is held at most; leaving the page lets it go at once."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Visit:
    """An opened face. Lives in gr.State, so that no other visitor can reach it.

    key: a new one for every face that is opened. The sliders carry it, so that a move made on the
    previous face is never drawn on this one.
    """

    face: Face
    key: str = field(default_factory=lambda: secrets.token_hex(8))


class Refusal(Exception):
    """What the visitor asked for cannot be done; the message tells them why, and what to do."""


def held(visit: Visit | None) -> Visit:
    """The visit, if its photo is still held."""
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
            message = html.escape(str(refusal), quote=False)
        except Exception:
            _logger.exception("%s failed", handler.__qualname__)
            message = "Something went wrong on our side. Try again."
        gr.Warning(message)
        return gr.skip()

    return wrapped
