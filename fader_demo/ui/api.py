"""Named endpoints for programs: Gradio's API, and tools of the Model Context Protocol."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec, TypedDict, TypeVar
from urllib.parse import unquote

import gradio as gr
from gradio.data_classes import FileData
from gradio_client.utils import (
    is_file_obj_with_meta,
    is_http_url_like,
    traverse,
)
from PIL import Image
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, validate_call

from fader_demo.attributes import Kind, SchemaError, Value
from fader_demo.blending import DETAIL
from fader_demo.photos import PhotoError
from fader_demo.pretrained import ModelError
from fader_demo.ui.download import picture_file
from fader_demo.ui.photo import uploaded_paths
from fader_demo.ui.strip import MOST
from fader_demo.ui.visit import OUR_FAULT, Refusal, log_failure

if TYPE_CHECKING:
    from fader_demo.editor import Editor, Face
    from fader_demo.models import Models

P = ParamSpec("P")
R = TypeVar("R")

_STORED = "/gradio_api/file="
"""What comes before the path in the address of a file of ours."""

_UPLOAD = "Upload the photo, as handle_file(path) of gradio_client does; no address is fetched."

_MISFIT = "What was sent does not fit what is asked for here: check its values and their number."


class UploadsOnly(gr.Blocks):
    """A page that takes files from nowhere but uploads.

    Gradio would fetch whatever address it is given in place of a file. Here only the address of a
    file that was uploaded to this page stands for that file. Of values that it cannot take Gradio
    would print all to the log, the names of photos among them; here the sender is told, and no one
    else.
    """

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any
    ) -> list[Any]:
        try:
            inputs = traverse(inputs, _stored, is_file_obj_with_meta)
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except Exception as error:
            message = error.message if isinstance(error, gr.Error) else _MISFIT
            raise gr.Error(message, print_exception=False) from None


def _stored(file: dict[str, Any]) -> dict[str, Any]:
    """The file by its path, which Gradio checks to be an upload, instead of its address."""
    if not is_http_url_like(file["path"]):
        return file
    _, ours, path = file["path"].partition(_STORED)
    if not ours:
        raise gr.Error(_UPLOAD, print_exception=False)
    return file | {"path": unquote(path)}


def _received(file: Any) -> FileData:
    """A file that Gradio has checked to be an upload. Raises Refusal."""
    if not is_file_obj_with_meta(file):
        raise Refusal(_UPLOAD)
    (path,) = uploaded_paths([file])
    return FileData(path=str(path))


Photo = Annotated[FileData, BeforeValidator(_received)]


class AttributeInfo(TypedDict):
    """An attribute, as ``fader_demo.attributes.Attribute`` describes it."""

    name: str
    label: str
    kind: Kind
    group: str
    slider: tuple[float, float]
    range: tuple[float, float]
    unit: str
    choices: tuple[str, ...]


def add_endpoints(models: Models, cache: str) -> None:
    """Adds `edit`, `strip` and `attributes` to the page around the call.

    cache: Gradio's own folder for files, which is swept. What a program sends is checked; what is
    wrong with it reaches the program in plain words, and of all other failures no details.
    """
    endpoints = _Endpoints(models, cache)
    for endpoint in (endpoints.edit, endpoints.strip, endpoints.attributes):
        # In line with visitors who open photos, whose events set the limit.
        gr.api(_plain(endpoint), concurrency_id="open", concurrency_limit=None)


def _plain(endpoint: Callable[P, R]) -> Callable[P, R]:
    """The endpoint with its arguments checked against its types, and failures made gr.Errors."""
    signature = inspect.signature(endpoint, eval_str=True)
    strict = ConfigDict(strict=True, allow_inf_nan=False)
    checked: Callable[..., R] = validate_call(config=strict)(endpoint)

    @functools.wraps(endpoint)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return checked(**signature.bind(*args, **kwargs).arguments)
        except ValidationError as error:
            message = _first(error)
        except (PhotoError, SchemaError, ModelError, Refusal) as error:
            message = str(error)
        except Exception:
            log_failure(endpoint.__name__)
            message = OUR_FAULT
        raise gr.Error(message, print_exception=False)

    # Gradio reads the result's type off the signature, where it would find the type's name.
    wrapped.__signature__ = signature  # type: ignore[attr-defined]
    return wrapped


def _first(error: ValidationError) -> str:
    """The first argument that is wrong, and why."""
    first = error.errors()[0]
    return f"{first['loc'][0]}: {first['msg']}."


class _Endpoints:
    """Their docstrings are what Gradio's API page and MCP clients show: a line to an argument."""

    def __init__(self, models: Models, cache: str) -> None:
        self._models = models
        self._cache = cache

    def edit(
        self,
        photo: Photo,
        values: dict[str, Value],
        detail: Annotated[float, Field(ge=0, le=1)] = DETAIL,
        face: Annotated[int, Field(ge=0)] = 0,
        model: str = "",
        format: Literal["png", "jpeg", "webp"] = "png",
    ) -> FileData:
        """Change attributes of a face in a photo; the photo comes back at its own resolution.

        Args:
            photo: The photo, uploaded: handle_file(path) of gradio_client, or the upload's address.
            values: New values by attribute, for example Smiling 1.2; attributes lists both.
            detail: How much of the photo's own detail stays where the face changes, from 0 to 1.
            face: Which face, counted from the largest, which is 0.
            model: Name of the model; without one, the first.
            format: File type of the result; png loses nothing.

        Returns:
            The edited photo.
        """
        editor = self._editor(model)
        opened = _open(editor, photo, face)
        edited = editor.paste(opened, values, detail=detail)
        return self._file(edited, "edited", format, opened.profile)

    def strip(
        self,
        photo: Photo,
        attribute: str,
        strengths: Annotated[list[Value], Field(min_length=1, max_length=MOST)],
        values: dict[str, Value] | None = None,
        face: Annotated[int, Field(ge=0)] = 0,
        model: str = "",
    ) -> FileData:
        """Show a face with one attribute at several strengths, side by side and labelled.

        Args:
            photo: The photo, uploaded: handle_file(path) of gradio_client, or the upload's address.
            attribute: Name of the attribute; attributes lists them.
            strengths: Its values from left to right, nine at most.
            values: Values of other attributes; those not named stay as the photo has them.
            face: Which face, counted from the largest, which is 0.
            model: Name of the model; without one, the first.

        Returns:
            The strip, a PNG.
        """
        editor = self._editor(model)
        opened = _open(editor, photo, face)
        return self._file(editor.strip(opened, attribute, strengths, values), "strip", "png")

    def attributes(self, model: str = "") -> list[AttributeInfo]:
        """List the attributes that a model changes, with the limits of their values.

        Args:
            model: Name of the model; without one, the first.

        Returns:
            For each attribute its name, label, kind, group, slider, range, unit and choices.
        """
        return [
            AttributeInfo(
                name=attribute.name,
                label=attribute.label,
                kind=attribute.kind,
                group=attribute.group,
                slider=attribute.slider,
                range=attribute.range,
                unit=attribute.unit,
                choices=attribute.choices,
            )
            for attribute in self._editor(model).schema
        ]

    def _editor(self, model: str) -> Editor:
        return self._models.editor(model or self._models.first)

    def _file(
        self, image: Image.Image, name: str, end: str, profile: bytes | None = None
    ) -> FileData:
        return FileData(**picture_file(image, name, end, self._cache, profile))


def _open(editor: Editor, photo: FileData, face: int) -> Face:
    try:
        return editor.open(Path(photo.path), face)
    except IndexError as error:
        raise Refusal(str(error)) from error
