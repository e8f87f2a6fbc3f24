"""Whatever value comes in, for attributes and all else, becomes an edit or a plain word about it.

Hypothesis makes them up: through the API of a served page, and with many more examples in Python.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from odd_files import HEAD, bombs_by_their_size, bombs_within, encoded, of_40_megapixels
from PIL import Image

from fader_demo import Editor, Face, SchemaError
from fader_demo.attributes import AttributeSchema
from fader_demo.models import Models
from fader_demo.ui.api import UploadsOnly, add_endpoints
from fader_demo.ui.download import picture_file
from fader_demo.ui.visit import OUR_FAULT, Refusal

EDIT: dict[str, Any] = {
    "values": {"Age": 50},
    "detail": 0.5,
    "face": 0,
    "model": "",
    "format": "png",
}
STRIP: dict[str, Any] = {
    "attribute": "Smiling",
    "strengths": [0, 1],
    "values": {"Age": 50},
    "face": 0,
    "model": "",
}

HUGE = [10**400, -(10**400), 2**63, 1e308, -1e308, 5e-324]
numbers = st.floats() | st.integers() | st.booleans() | st.sampled_from(HUGE)
texts = st.text(max_size=12) | st.sampled_from(["blond", "1.5", "NaN", "-Infinity", "\ud800", "\0"])
names = st.sampled_from(["Smiling", "Eyeglasses", "Age", "Hair"]) | texts
anything = st.recursive(
    st.none() | numbers | texts,
    lambda some: st.lists(some, max_size=12) | st.dictionaries(names, some, max_size=4),
    max_leaves=12,
)
values = st.dictionaries(names, numbers | texts | anything, max_size=5)

quickly = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
thoroughly = settings(quickly, max_examples=200)


def one_odd(good: dict[str, Any]) -> SearchStrategy[list[Any]]:
    """Arguments of an endpoint of which one is whatever it may be."""
    odd = st.tuples(st.just("values"), values) | st.tuples(st.sampled_from(sorted(good)), anything)
    return odd.map(lambda named: [*(good | dict([named])).values()])


@pytest.fixture(scope="module")
def models(tiny_model_folder: Path) -> Models:
    return Models({"tiny": tiny_model_folder})


@pytest.fixture(scope="module")
def editor(models: Models) -> Editor:
    return models.editor("tiny")


@pytest.fixture(scope="module")
def face(editor: Editor) -> Face:
    return editor.open(HEAD)


@pytest.fixture(scope="module")
def page(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    """A page of nothing but the endpoints, served by this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        with UploadsOnly(analytics_enabled=False) as page:
            add_endpoints(models, page.GRADIO_CACHE)
        page.launch(prevent_thread_lock=True, quiet=True, run_history=False)
        yield page
        page.close(verbose=False)


@pytest.fixture(scope="module")
def photo(page: gr.Blocks) -> dict[str, Any]:
    """Uploaded once, for all calls."""
    return upload(page, encoded(HEAD, "PNG"))


@pytest.fixture(autouse=True)
def _nothing_is_logged_as_a_fault(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []


def upload(page: gr.Blocks, content: bytes) -> dict[str, Any]:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    body = head + content + b"\r\n--x--\r\n"
    (path,) = json.loads(answer(page, "upload", body, "multipart/form-data; boundary=x"))
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def answer(
    page: gr.Blocks, route: str, body: bytes | None = None, kind: str = "application/json"
) -> str:
    address = f"{page.local_url}gradio_api/{route}"
    request = urllib.request.Request(address, body, {"Content-Type": kind})
    with urllib.request.urlopen(request) as response:
        return str(response.read().decode())


def problem(page: gr.Blocks, endpoint: str, arguments: list[Any]) -> str | None:
    """What an endpoint says of these arguments, or None if it gives a result.

    They are sent as no client would: with NaN, infinities and what no Unicode text holds.
    """
    call = f"call/{endpoint}"
    event = json.loads(answer(page, call, json.dumps({"data": arguments}).encode()))["event_id"]
    kind, _, data = answer(page, f"{call}/{event}").strip().partition("\ndata: ")
    if kind == "event: complete":
        return None
    message = json.loads(data)["error"]
    assert isinstance(message, str)
    return message


def assert_plain(message: str | None) -> None:
    """It is a result, or a sentence of which its reader can make something."""
    if message is None:
        return
    assert message.endswith(".") and len(message) > 20, message
    assert OUR_FAULT not in message
    assert "Traceback" not in message and "object at 0x" not in message


@quickly
@given(arguments=one_odd(EDIT))
def test_edit_answers_whatever_it_is_given(
    page: gr.Blocks, photo: dict[str, Any], arguments: list[Any]
) -> None:
    assert_plain(problem(page, "edit", [photo, *arguments]))


@quickly
@given(arguments=one_odd(STRIP))
def test_strip_answers_whatever_it_is_given(
    page: gr.Blocks, photo: dict[str, Any], arguments: list[Any]
) -> None:
    assert_plain(problem(page, "strip", [photo, *arguments]))


@quickly
@given(arguments=st.lists(anything, max_size=9))
def test_wrong_arguments_altogether_are_refused_in_plain_words(
    page: gr.Blocks, arguments: list[Any]
) -> None:
    message = problem(page, "edit", arguments)
    assert message is not None
    assert_plain(message)


def test_arguments_that_are_missing_are_asked_for(page: gr.Blocks, photo: dict[str, Any]) -> None:
    for arguments in ([], [photo], [None, *EDIT.values()], [[photo, *EDIT.values()]]):
        message = problem(page, "edit", arguments)
        assert message is not None
        assert_plain(message)


@pytest.mark.parametrize("make", [bombs_by_their_size, bombs_within, of_40_megapixels])
def test_after_the_worst_files_the_next_visitor_is_answered_at_once(
    page: gr.Blocks, photo: dict[str, Any], make: Any
) -> None:
    for content in make().values():
        message = problem(page, "edit", [upload(page, content), *EDIT.values()])
        assert message is not None
        assert_plain(message)
        began = time.monotonic()
        assert problem(page, "edit", [photo, *EDIT.values()]) is None
        assert (
            time.monotonic() - began < 60
        )  # on a busy machine; a tenth of a second on an idle one


# In Python


@thoroughly
@given(values=values, detail=st.floats() | st.just(0.5))
def test_the_editor_draws_any_values_or_says_what_is_wrong(
    editor: Editor, face: Face, values: dict[str, Any], detail: float
) -> None:
    try:
        drawn = editor.render(face, values, detail=detail)
    except ValueError as error:
        assert_plain(str(error))
    else:
        assert isinstance(drawn, Image.Image) and drawn.size == face.aligned.size


@thoroughly
@given(value=numbers | texts | anything)
def test_a_value_is_held_within_its_slider_or_refused_by_name(editor: Editor, value: Any) -> None:
    for attribute in editor.schema:
        try:
            held = attribute.clamp(value)
        except SchemaError as error:
            assert str(error).startswith(attribute.name)
        else:
            low, high = attribute.slider
            assert low <= held <= high or held in range(len(attribute.choices))


@pytest.mark.parametrize(("end", "most"), [("jpeg", 65_500), ("webp", 16_383)])
def test_a_picture_too_long_for_its_format_is_refused_and_leaves_nothing(
    tmp_path: Path, end: str, most: int
) -> None:
    with pytest.raises(Refusal, match=f"holds {most} pixels a side.* Choose PNG"):
        picture_file(Image.new("RGB", (most + 1, 40)), "long", end, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    picture_file(Image.new("RGB", (most, 40)), "long", end, str(tmp_path))
    picture_file(Image.new("RGB", (most + 1, 40)), "long", "png", str(tmp_path))


settings_of_attributes = st.fixed_dictionaries(
    {"name": names | anything},
    optional={
        "kind": st.sampled_from(["binary", "continuous", "categorical"]) | anything,
        "label": anything,
        "range": st.tuples(numbers, numbers) | anything,
        "slider": st.tuples(numbers, numbers) | anything,
        "default": numbers | anything,
        "choices": st.lists(texts, max_size=4) | anything,
    },
)


@thoroughly
@given(config=st.lists(settings_of_attributes | anything, max_size=3))
def test_a_schema_is_read_or_refused_whatever_is_in_its_file(config: list[Any]) -> None:
    try:
        schema = AttributeSchema.from_config(config)
    except SchemaError as error:
        assert_plain(str(error))
    else:
        assert AttributeSchema.from_config(schema.to_config()) == schema
