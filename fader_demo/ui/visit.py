"""What the page holds of one visitor, and how it speaks to people when something fails."""

from __future__ import annotations

import functools
import html
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import gradio as gr

from fader_demo.photos import PhotoError

if TYPE_CHECKING:
    from fader_demo.editor import Face

P = ParamSpec("P")
R = TypeVar("R")

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


def trouble(message: str, title: str) -> gr.Error:
    """A toast in plain words. Raised in a handler, it leaves the page as it was."""
    return gr.Error(html.escape(message, quote=False), title=title, print_exception=False)


def held(visit: Visit | None) -> Visit:
    """The visit, if its photo is still held."""
    if visit is None:
        raise trouble("This photo is no longer held here. Open it again.", "Photo let go")
    return visit


def in_plain_words(handler: Callable[P, R]) -> Callable[P, R]:
    """Make a handler's failures toasts: a PhotoError's own words, and of all else no details."""

    @functools.wraps(handler)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except gr.Error:
            raise
        except PhotoError as error:
            raise trouble(str(error), "Not this photo") from error
        except Exception as error:
            _logger.exception("%s failed", handler.__qualname__)
            raise trouble("Something went wrong here. Try again.", "Sorry") from error

    return wrapped
