"""The endpoints for programs, as gradio_client and an MCP client use them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ImageContent, TextContent, Tool
from PIL import Image

from fader_demo import Editor, Face
from fader_demo.models import Models
from fader_demo.ui.api import UploadsOnly, add_endpoints

MARK = {"meta": {"_type": "gradio.FileData"}}


@pytest.fixture(scope="module")
def models(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Models:
    missing = tmp_path_factory.mktemp("models") / "missing"
    return Models({"tiny": tiny_model_folder, "missing": missing})


@pytest.fixture(scope="module")
def page(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    """A page of nothing but the endpoints, served by this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        with UploadsOnly(analytics_enabled=False, delete_cache=(60, 300)) as page:
            add_endpoints(models, page.GRADIO_CACHE)
        page.launch(prevent_thread_lock=True, quiet=True, mcp_server=True, run_history=False)
        yield page
        page.close()


@pytest.fixture(scope="module")
def client(page: gr.Blocks, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(
        page.local_url,
        download_files=str(tmp_path_factory.mktemp("downloads")),
        analytics_enabled=False,
        verbose=False,
    )


@pytest.fixture(scope="module")
def editor(models: Models) -> Editor:
    return models.editor("tiny")


@pytest.fixture(scope="module")
def face(editor: Editor, portrait: Path) -> Face:
    return editor.open(portrait)


def same_pixels(one: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.array(one.convert("RGB")), np.array(other.convert("RGB")))


def refusal(client: Client, endpoint: str, *arguments: Any, **named: Any) -> str:
    with pytest.raises(AppError) as refused:
        client.predict(*arguments, api_name=endpoint, **named)
    return str(refused.value)


def upload(page: gr.Blocks, file: Path) -> str:
    """Uploads a file as any HTTP client can, and returns its address."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        + file.read_bytes()
        + b"\r\n--x--\r\n"
    )
    request = urllib.request.Request(
        f"{page.local_url}gradio_api/upload",
        body,
        {"Content-Type": "multipart/form-data; boundary=x"},
    )
    with urllib.request.urlopen(request) as answer:
        (path,) = json.load(answer)
    return f"{page.local_url}gradio_api/file={path}"


def test_edit_gives_the_pixels_of_the_editor(
    client: Client, editor: Editor, face: Face, portrait: Path, couple: Path
) -> None:
    values = {"Smiling": 1.5, "Hair": "blond"}
    edited = client.predict(handle_file(portrait), values, api_name="/edit")
    with Image.open(edited) as image:
        assert image.format == "PNG" and not image.getexif()
        assert same_pixels(image, editor.paste(face, values))
    edited = client.predict(handle_file(couple), {"Age": 60}, 0.2, 1, "tiny", api_name="/edit")
    with Image.open(edited) as image:
        expected = editor.paste(editor.open(couple, 1), {"Age": 60}, detail=0.2)
        assert same_pixels(image, expected)


@pytest.mark.parametrize("wanted", ["jpeg", "webp"])
def test_edit_comes_in_the_wanted_format(client: Client, portrait: Path, wanted: str) -> None:
    edited = client.predict(handle_file(portrait), {}, format=wanted, api_name="/edit")
    with Image.open(edited) as image:
        assert image.format == wanted.upper()


def test_strip_gives_the_pixels_of_the_editor(
    client: Client, editor: Editor, face: Face, portrait: Path
) -> None:
    photo = handle_file(portrait)
    strip = client.predict(photo, "Smiling", [0, 1.5], {"Age": 60}, api_name="/strip")
    with Image.open(strip) as image:
        assert same_pixels(image, editor.strip(face, "Smiling", [0, 1.5], {"Age": 60}))
    strip = client.predict(photo, "Hair", ["blond"], api_name="/strip")
    with Image.open(strip) as image:
        assert same_pixels(image, editor.strip(face, "Hair", ["blond"]))


def test_attributes_are_described_with_the_limits_of_their_values(
    client: Client, editor: Editor
) -> None:
    described = client.predict(api_name="/attributes")
    assert [entry["name"] for entry in described] == list(editor.schema.names)
    assert described[2] == {
        "name": "Age",
        "label": "Age",
        "kind": "continuous",
        "group": "Face",
        "slider": [0, 90],
        "range": [20, 70],
        "unit": "years",
        "choices": [],
    }
    assert described[3]["choices"] == ["black", "blond", "brown"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"values": {"Nose": 1}}, "no attribute 'Nose'; this model has Smiling"),
        ({"values": {"Smiling": "big"}}, "Smiling needs a number"),
        ({"values": {"Smiling": None}}, "values: "),
        ({"values": {"Hair": "green"}}, "no choice 'green'"),
        ({"values": [1]}, "values: Input should be a valid dictionary"),
        ({"detail": 1.5}, "detail: "),
        ({"detail": "0.5"}, "detail: Input should be a valid number"),
        ({"face": 4}, "no face number 4: this photo shows 1"),
        ({"face": -1}, "face: "),
        ({"face": 0.5}, "face: Input should be a valid integer"),
        ({"model": "x"}, "no model 'x'; there is tiny, missing"),
        ({"model": "missing"}, "missing cannot be loaded"),
        ({"model": ["tiny"]}, "model: "),
        ({"format": "gif"}, "format: Input should be 'png', 'jpeg' or 'webp'"),
        ({"photo": "portrait.jpg"}, "Upload the photo"),
        ({"photo": None}, "Upload the photo"),
    ],
    ids=str,
)
def test_edit_says_what_is_wrong_with_an_argument(
    client: Client, portrait: Path, wrong: dict[str, Any], words: str
) -> None:
    arguments = {"photo": handle_file(portrait), "values": {}} | wrong
    message = refusal(client, "/edit", **arguments)
    assert words in message and "Traceback" not in message


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"attribute": "Nose"}, "no attribute 'Nose'"),
        ({"attribute": 0}, "attribute: "),
        ({"strengths": []}, "strengths: "),
        ({"strengths": [1] * 10}, "strengths: "),
        ({"strengths": 1}, "strengths: "),
        ({"strengths": [None]}, "strengths: "),
        ({"values": {"Nose": 1}}, "no attribute 'Nose'"),
    ],
    ids=str,
)
def test_strip_says_what_is_wrong_with_an_argument(
    client: Client, portrait: Path, wrong: dict[str, Any], words: str
) -> None:
    arguments = {"photo": handle_file(portrait), "attribute": "Smiling", "strengths": [1]} | wrong
    assert words in refusal(client, "/strip", **arguments)


def test_a_number_that_is_none_is_refused(page: gr.Blocks, client: Client, portrait: Path) -> None:
    photo = json.dumps({"path": upload(page, portrait)} | MARK)
    body = f'{{"data": [{photo}, {{"Smiling": NaN}}, 0.5, 0, "", "png"]}}'
    assert "event: complete" not in called(page, body)


def test_a_file_that_is_no_photo_is_refused_in_plain_words(client: Client, tmp_path: Path) -> None:
    letter = tmp_path / "letter.png"
    letter.write_text("Dear all,")
    assert "not an image" in refusal(client, "/edit", handle_file(letter), {})


def test_a_fault_of_ours_shows_no_details(
    client: Client,
    portrait: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Editor, "paste", lambda *_, **__: 1 / 0)
    message = refusal(client, "/edit", handle_file(portrait), {})
    assert "wrong on our side" in message and "division" not in message
    assert "edit failed: ZeroDivisionError" in caplog.text and "test_api.py" in caplog.text


def called(page: gr.Blocks, body: str) -> str:
    """The events that answer a call with this body, which no client has looked at."""
    address = f"{page.local_url}gradio_api/call/edit"
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, body.encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{address}/{event}") as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return str(error)


def edited(page: gr.Blocks, photo: dict[str, Any], values: dict[str, Any]) -> str:
    return called(page, json.dumps({"data": [photo, values, 0.5, 0, "", "png"]}))


def test_no_file_is_taken_but_uploads(
    page: gr.Blocks, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    async def fetch(address: str, cache_dir: str) -> str:
        fetched.append(address)
        return str(portrait)

    monkeypatch.setattr(gr.processing_utils, "async_ssrf_protected_download", fetch)
    elsewhere = {"path": "https://example.org/portrait.jpg"} | MARK
    assert "Upload the photo" in edited(page, elsewhere, {})
    assert "Upload the photo" in edited(page, elsewhere, {"Smiling": elsewhere})
    assert "Upload the photo" in edited(page, {"path": str(portrait)}, {})
    for path in (str(portrait), f"{page.local_url}gradio_api/file={portrait}"):
        answer = edited(page, {"path": path} | MARK, {})
        assert "event: error" in answer and "portrait" not in answer
    assert not fetched


def test_the_address_of_an_upload_stands_for_it(page: gr.Blocks, portrait: Path) -> None:
    answer = edited(page, {"path": upload(page, portrait)} | MARK, {})
    assert "event: complete" in answer


def test_files_are_written_where_they_are_swept(
    page: gr.Blocks, client: Client, portrait: Path
) -> None:
    client.predict(handle_file(portrait), {}, api_name="/edit")
    swept = set().union(*page.temp_file_sets)
    left = {str(path) for path in Path(page.GRADIO_CACHE).rglob("*.*") if path.is_file()}
    assert left and left <= swept


def tools(page: gr.Blocks) -> dict[str, Tool]:
    async def listed(session: ClientSession) -> dict[str, Tool]:
        return {tool.name: tool for tool in (await session.list_tools()).tools}

    return asyncio.run(_in_session(page, listed))


def call_tool(page: gr.Blocks, name: str, **arguments: Any) -> CallToolResult:
    async def call(session: ClientSession) -> CallToolResult:
        return await session.call_tool(name, arguments)

    return asyncio.run(_in_session(page, call))


async def _in_session(page: gr.Blocks, ask: Any) -> Any:
    async with (
        streamable_http_client(f"{page.local_url}gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        return await ask(session)


def test_mcp_lists_the_endpoints_with_typed_and_described_arguments(page: gr.Blocks) -> None:
    listed = tools(page)
    assert set(listed) == {"edit", "strip", "attributes"}
    for tool in listed.values():
        assert tool.description
        for argument in tool.inputSchema["properties"].values():
            assert argument["description"].endswith(".")
            assert {"type", "enum", "oneOf"} & set(argument)
    edit = listed["edit"].inputSchema
    assert edit["required"] == ["photo", "values"]
    assert edit["properties"]["detail"]["type"] == "number"
    assert edit["properties"]["format"]["enum"] == ["png", "jpeg", "webp"]


def test_mcp_edits_an_uploaded_photo(
    page: gr.Blocks, editor: Editor, face: Face, portrait: Path
) -> None:
    result = call_tool(page, "edit", photo=upload(page, portrait), values={"Smiling": 1.5})
    assert not result.isError
    (image,) = [part for part in result.content if isinstance(part, ImageContent)]
    with Image.open(io.BytesIO(base64.b64decode(image.data))) as shown:
        assert same_pixels(shown, editor.paste(face, {"Smiling": 1.5}))


def test_mcp_says_what_is_wrong_and_reads_no_file_of_the_server(
    page: gr.Blocks, portrait: Path
) -> None:
    here = {"path": str(portrait)} | MARK
    photo = upload(page, portrait)
    for words, arguments in (
        ("no attribute 'Nose'", {"photo": photo, "values": {"Nose": 1}}),
        ("Upload the photo", {"photo": "https://example.org/a.jpg", "values": {}}),
        ("not of type 'string'", {"photo": here, "values": {}}),
        ("not valid", {"photo": photo, "values": {"Smiling": here}}),
    ):
        result = call_tool(page, "edit", **arguments)
        (message,) = result.content
        assert result.isError and isinstance(message, TextContent) and words in message.text
