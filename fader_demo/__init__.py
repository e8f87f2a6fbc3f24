"""Fader: a live editor of face attributes, after Fader Networks (Lample et al. 2017)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fader_demo.attributes import SchemaError as SchemaError
    from fader_demo.editor import Editor as Editor
    from fader_demo.editor import Face as Face
    from fader_demo.faces import NoFaceError as NoFaceError
    from fader_demo.photos import ImageTooLargeError as ImageTooLargeError
    from fader_demo.photos import ImageTooSmallError as ImageTooSmallError
    from fader_demo.photos import PhotoError as PhotoError
    from fader_demo.photos import UnreadableImageError as UnreadableImageError
    from fader_demo.pretrained import ModelError as ModelError

_HOMES = {
    "Editor": "editor",
    "Face": "editor",
    "ImageTooLargeError": "photos",
    "ImageTooSmallError": "photos",
    "ModelError": "pretrained",
    "NoFaceError": "faces",
    "PhotoError": "photos",
    "SchemaError": "attributes",
    "UnreadableImageError": "photos",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # Imported on first use (PEP 562), so that reading a photo does not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
