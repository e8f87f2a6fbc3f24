"""What the running app keeps to itself: photos, files, the server, and all of it behind a password.

That the page asks no other host for anything is tested wherever there is a visitor.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import Browser, expect
from running import ROOT, free_port
from visitor import PATIENCE, Visitor

MARK = {"meta": {"_type": "gradio.FileData"}}
TELLTALE = ("Traceback", str(ROOT), "site-packages", "fader_demo", "gradio.", ".py")
"""What an answer holds that tells of the server's inside."""


@dataclass
class Served:
    """A running app, all that it writes below one folder of its own."""

    address: str
    folder: Path
    process: subprocess.Popen[bytes]

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")

    def files(self) -> list[Path]:
        """What the app has written, its log apart."""
        return [p for p in self.folder.rglob("*") if p.is_file() and p.name != "log"]

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=PATIENCE)


def start(folder: Path, model: Path, port: int, **settings: str) -> subprocess.Popen[bytes]:
    """`python app.py` with a home, folders for temporary files and a working folder of its own."""
    places = {"HOME": "home", "TMPDIR": "tmp", "GRADIO_TEMP_DIR": "gradio", "PWD": "work"}
    for name in places.values():
        (folder / name).mkdir()
    known = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "HF_", "GRADIO_"))}
    environment = {k: str(folder / name) for k, name in places.items()} | settings
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, ROOT / "app.py"],
            cwd=folder / "work",
            env=known
            | environment
            | {"PORT": str(port), "FADER_MODELS": str(model), "HF_HUB_OFFLINE": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def serving(folder: Path, model: Path, **settings: str) -> Iterator[Served]:
    port = free_port()
    process = start(folder, model, port, **settings)
    served = Served(f"http://127.0.0.1:{port}", folder, process)
    try:
        deadline = time.monotonic() + 240
        while "Fader is ready" not in served.log():
            assert process.poll() is None and time.monotonic() < deadline, served.log()
            time.sleep(0.1)
        yield served
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def served(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), tiny_model_folder) as served:
        yield served


@pytest.fixture(scope="module")
def web(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.address, timeout=PATIENCE) as web:
        yield web


@pytest.fixture(scope="module")
def events(web: httpx.Client) -> list[dict[str, Any]]:
    """All events of the page, those among them that only the page itself should cause."""
    return [event for event in web.get("/config").json()["dependencies"] if event["backend_fn"]]


def answers(web: httpx.Client, event: dict[str, Any], inputs: list[list[Any]]) -> str:
    """All that comes back when an event is caused with each of these inputs."""
    session = f"session-{event['id']}-{time.monotonic_ns()}"
    for data in inputs:
        body = {"data": data, "fn_index": event["id"], "session_hash": session}
        joined = web.post("/gradio_api/queue/join", json=body | {"event_data": {"index": 0}})
        assert joined.status_code == 200, joined.text
    streamed = web.get("/gradio_api/queue/data", params={"session_hash": session})
    assert streamed.text.count("process_completed") >= len(inputs)
    return streamed.text


def tells_nothing(text: str) -> bool:
    return not any(word in text for word in TELLTALE)


# What a visit leaves


def test_a_visit_leaves_nothing_on_disk_and_nothing_of_the_photo_in_the_log(
    tiny_model_folder: Path, tmp_path: Path, portrait: Path, chromium: Browser
) -> None:
    photo, letter = tmp_path / "my secret holiday.jpg", tmp_path / "my secret letter.jpg"
    photo.write_bytes(portrait.read_bytes())
    letter.write_text("Dear all,")
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served", tiny_model_folder) as served:
        visitor = Visitor(chromium.new_context(accept_downloads=True).new_page(), served.address)
        visitor.open_photo(photo)
        visitor.drag("Smiling", visitor.farther_end("Smiling"))
        with visitor.page.expect_download():
            visitor.page.get_by_role("button", name="Download").first.click()
        visitor.choose_files(letter)
        assert "not an image" in visitor.toast()
        visitor.leave()

        client = Client(served.address, verbose=False, analytics_enabled=False)
        client.predict(handle_file(photo), {"Smiling": 1}, api_name="/edit")
        for file, values in ((letter, {}), (photo, {"Nose": 1}), (photo, [photo.name])):
            with pytest.raises(AppError):
                client.predict(handle_file(file), values, api_name="/edit")
        with httpx.Client(base_url=served.address, timeout=PATIENCE) as web:
            named = {"path": photo.name, "orig_name": photo.name, **MARK}
            for event in web.get("/config").json()["dependencies"]:
                count = len(event["inputs"])
                answers(web, event, [[named] * 50, [named] * count])
        assert served.files()  # the photo is there, until it is swept
        assert served.end(signal.SIGTERM) == 0
        assert "secret" not in served.log()
        assert served.files() == []


# What answers tell of the server


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/queue/join",
        "/gradio_api/run/predict",
        "/gradio_api/call/edit",
        "/gradio_api/call/nothing",
        "/gradio_api/call/v2/edit",
        "/gradio_api/call/v2/nothing",
        "/gradio_api/component_server",
        "/gradio_api/upload",
        "/gradio_api/cancel",
        "/gradio_api/reset",
        "/login",
    ],
)
def test_a_malformed_request_is_no_fault_of_ours_and_is_told_nothing(
    web: httpx.Client, path: str
) -> None:
    named = {"session_hash": "s", "component_id": 10**6, "fn_name": "__init__", "fn_index": 10**6}
    bodies = [
        *(b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe\x00", b"[" * 100_000, b'{"data": NaN}'),
        *(
            b"1e999",
            b'{"data": [' + b"9" * 10_000 + b"]}",
            json.dumps({"data": []} | named).encode(),
        ),
        json.dumps({name: {"a": [None]} for name in ("data", *named)}).encode(),
        json.dumps({"data": ["x"] * 99, "event_data": 5} | named | {"fn_index": -1}).encode(),
    ]
    for body in bodies:
        for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain"):
            answer = web.post(path, content=body, headers={"Content-Type": kind})
            assert answer.status_code < 500, (body[:40], kind, answer.text)
            assert tells_nothing(answer.text), answer.text


def test_an_event_with_inputs_of_any_kind_tells_nothing(
    web: httpx.Client, events: list[dict[str, Any]]
) -> None:
    values = ([], "x", {"face": 1}, [[]], -1e308, 10**30, True, {"value": None}, "\x00", {"a": {}})
    for event in events:
        count = len(event["inputs"])
        text = answers(web, event, [[], *([value] * count for value in values), [1] * 50])
        assert tells_nothing(text), (event["api_name"], text)


def test_only_functions_made_for_it_can_be_called_on_a_component(web: httpx.Client) -> None:
    components = web.get("/config").json()["components"]
    for component in components[:20]:
        for name in ("preprocess", "__class__", "get_config", "unrender", "", "../draw", "draw.x"):
            body = {"data": ["x"], "component_id": component["id"], "fn_name": name}
            answer = web.post("/gradio_api/component_server", json=body | {"session_hash": "s"})
            assert answer.status_code == 404 and tells_nothing(answer.text)


def test_the_page_and_its_description_name_no_folder_of_the_server(
    web: httpx.Client, served: Served
) -> None:
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/openapi.json", "/theme.css"):
        answer = web.get(path)
        assert answer.status_code == 200
        for folder in (str(ROOT), str(served.folder), sys.prefix, "Traceback"):
            assert folder not in answer.text


# What can be reached from outside


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the server that is nobody's business."""
    path = tmp_path_factory.mktemp("elsewhere") / "secret.txt"
    path.write_text("the secret")
    return path


def test_no_file_of_the_server_can_be_read(served: Served, web: httpx.Client, secret: Path) -> None:
    upload = web.post("/gradio_api/upload", files={"files": ("a.txt", b"mine")}).json()[0]
    assert web.get(f"/gradio_api/file={upload}").text == "mine"
    up = "../" * 12
    paths = [
        *(str(secret), f"/{secret}", f"/.{secret}", f"{up}{secret}", f"{upload}/{up}{secret}"),
        *(f"{Path(upload).parent}/{up}{secret}", f"/proc/self/root{secret}", f"file://{secret}"),
        *(str(secret).replace("/", "%2f"), f"{up}{secret}".replace(".", "%2e")),
        *(str(secret).replace("/", "%252f"), f"{secret}%00", f"%00{secret}", f"{secret}%00.png"),
        *(str(secret).replace("/", "\\"), f"C:{secret}", f"\\\\localhost{secret}", f"~/{secret}"),
        *(f"{up}{secret}".replace("/", "%5c"), f"..;/{up}{secret}", f"data:text/plain,{secret}"),
        *(
            str(ROOT / "app.py"),
            "/etc/passwd",
            "/proc/self/environ",
            "/dev/stdin",
            str(secret.parent),
        ),
    ]
    routes = [
        *("/gradio_api/file=", "/gradio_api/file/", "/gradio_api/proxy=", "/gradio_api/stream/"),
        *("/static/", "/assets/", "/svelte/", "/gradio_api/custom_component/a/client/b/"),
        *("/pwa_icon/", "/", "/?deep_link="),
    ]
    host = urlsplit(served.address).netloc
    for route in routes:
        for path in paths:
            connection = http.client.HTTPConnection(host, timeout=PATIENCE)
            connection.putrequest("GET", route + path)  # just as it stands
            connection.endheaders()
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            connection.close()
            assert "the secret" not in text and "root:" not in text, route + path
            if not route.endswith(("/", "=")) or route == "/gradio_api/file=":
                assert answer.status in (400, 403, 404), (route + path, answer.status)


def test_an_upload_cannot_choose_where_it_goes(served: Served, web: httpx.Client) -> None:
    names = (
        "../../../a.txt",
        "/tmp/a.txt",
        "..\\a.txt",
        "a/../../b.txt",
        "a" * 5000,
        ".",
        "..",
        "",
    )
    for name in names:
        answer = web.post("/gradio_api/upload", files={"files": (name, b"x", "text/plain")})
        assert answer.status_code < 500
        if answer.status_code == 200:
            path = Path(answer.json()[0])
            assert path.is_relative_to(served.folder / "gradio") and ".." not in path.parts
    assert all(path.is_relative_to(served.folder / "gradio") for path in served.files())


def test_nothing_is_fetched_for_anybody(
    web: httpx.Client, events: list[dict[str, Any]], secret: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        here = f"127.0.0.1:{listener.getsockname()[1]}"
        addresses = [
            *(f"http://{here}/a.jpg", f"https://{here}/a.jpg", f"HTTP://{here}/a.jpg"),
            *(
                f"//{here}/a.jpg",
                f"ftp://{here}/a.jpg",
                f"\\\\{here}\\a.jpg",
                f"http:/{here}/a.jpg",
            ),
            *(f"http://{here}/gradio_api/file=/etc/passwd", f"file://{secret}", str(secret)),
            *(f"http://localhost:{here[10:]}/a.jpg", "data:text/plain,a", "s3://a/b.jpg"),
        ]
        forms: list[Callable[[str], Any]] = [
            lambda address: {"path": address, **MARK},
            lambda address: {"path": "a.jpg", "url": address, "orig_name": address, **MARK},
            lambda address: [{"value": {"path": address, "url": address, **MARK}}],
            lambda address: {"path": "", "url": address, "is_stream": True, **MARK},
        ]
        files = [
            form(address) for form, address in zip(itertools.cycle(forms), addresses, strict=False)
        ]
        files += [forms[0](address) for address in addresses[:6]]
        for event in events:
            count = len(event["inputs"])
            text = answers(web, event, [[file] * count for file in files]) if count else ""
            assert "the secret" not in text
        for address in addresses:
            for route in ("file=", "file/", "proxy="):
                assert web.get(f"/gradio_api/{route}{address}").status_code in (403, 404)
        with pytest.raises(BlockingIOError):
            listener.accept()


# Limits, as a client of this very server meets them


def test_an_endless_request_is_cut_off_and_the_next_is_answered(web: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"data": ["'
        for _ in range(16_384):  # a gigabyte
            yield b"a" * 65_536

    for path in ("queue/join", "component_server", "call/edit"):
        headers = {"Content-Type": "application/json"}
        answer = web.post(f"/gradio_api/{path}", content=endless(), headers=headers)
        assert answer.status_code == 413 and "1 MB" in answer.json()["detail"]
    assert web.get("/config").status_code == 200


def test_a_client_behind_a_proxy_is_limited_and_its_neighbour_is_not(web: httpx.Client) -> None:
    def log_in(address: str) -> int:
        form = {"username": "a", "password": "b"}
        return web.post("/login", data=form, headers={"X-Forwarded-For": address}).status_code

    assert 429 in [log_in("203.0.113.7") for _ in range(20)]
    assert log_in("203.0.113.8") != 429


def test_another_sites_page_cannot_call_the_app(
    served: Served, chromium: Browser, tmp_path: Path
) -> None:
    page = chromium.new_context().new_page()
    page.goto(f"{served.address.replace('127.0.0.1', 'localhost')}/robots.txt")
    called = page.evaluate(
        f"""async () => {{
          const call = (path, options) => fetch("{served.address}" + path, options)
            .then((answer) => answer.status, () => "blocked");
          return [await call("/config"), await call("/gradio_api/reset", {{ method: "POST" }})];
        }}"""
    )
    page.context.close()
    assert called == ["blocked", "blocked"]


# A password


@pytest.fixture(scope="module")
def closed(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The app with a password, ended as from the keyboard."""
    folder = tmp_path_factory.mktemp("closed")
    with serving(folder, tiny_model_folder, FADER_PASSWORD="tulip") as served:
        yield served
        assert served.end(signal.SIGINT) == 0
        assert "Traceback" not in served.log()
        assert served.files() == []


OPEN_TO_ALL = {
    *("/", "/login", "/login/", "/logout", "/favicon.ico", "/robots.txt", "/manifest.json"),
    *("/assets/1", "/static/1", "/theme.css", "/gradio_api/theme.css", "/pwa_icon", "/pwa_icon/1"),
    *(f"/gradio_api/{name}{end}" for name in ("user", "token", "app_id") for end in ("", "/")),
    *(
        "/gradio_api/startup-events",
        "/gradio_api/reset",
        "/gradio_api/reset/",
        "/gradio_api/cancel",
    ),
    "/gradio_api/heartbeat/1",
}
"""The form to log in with, what it looks like, and what does nothing for who holds no visit."""


def test_every_route_is_closed_without_the_password(closed: Served) -> None:
    with gr.Blocks(analytics_enabled=False) as page:
        pass
    page.launch(prevent_thread_lock=True, quiet=True)
    known = {
        re.sub(r"{[^}]*}", "1", path): ways for path, ways in page.app.openapi()["paths"].items()
    }
    page.close()
    assert {"/config", "/gradio_api/queue/join", "/gradio_api/upload"} < set(known)
    mounted = {"/gradio_api/mcp/", "/gradio_api/mcp/sse"}
    with httpx.Client(base_url=closed.address, timeout=PATIENCE) as stranger:
        for path in (known.keys() | mounted) - OPEN_TO_ALL:
            for way in known.get(path, ("get", "post")):
                answer = stranger.request(way, path)
                assert answer.status_code in (401, 404), (way, path, answer.text)
        form = stranger.get("/").text
        assert '"auth_required":true' in form and '"components":[]' in form


def test_the_password_opens_the_page_and_the_endpoints(
    closed: Served, chromium: Browser, portrait: Path
) -> None:
    with pytest.raises(Exception, match=r"(?i)login|credentials|auth"):
        Client(closed.address, auth=("me", "rose"), verbose=False, analytics_enabled=False)
    client = Client(closed.address, auth=("me", "tulip"), verbose=False, analytics_enabled=False)
    assert client.predict(handle_file(portrait), {}, api_name="/edit")

    page = chromium.new_context().new_page()
    page.goto(closed.address)
    page.locator("input[type=password]").fill("tulip")
    page.locator("input").first.fill("anybody")
    page.get_by_role("button", name="Login").click()
    expect(page.get_by_role("heading", name="Fader")).to_be_visible()
    page.context.close()


# At the start


def test_a_port_that_is_taken_is_told_in_one_line(
    served: Served, tiny_model_folder: Path, tmp_path: Path
) -> None:
    port = urlsplit(served.address).port
    assert port
    process = start(tmp_path, tiny_model_folder, port)
    assert process.wait(timeout=120) == 1
    log = (tmp_path / "log").read_text()
    assert f"Fader cannot start. Port {port} is taken" in log and "Traceback" not in log
