"""The guard around the app: what it closes, what it limits, and what every answer carries."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import app
from fader_demo import photos, pretrained
from fader_demo.ui import guard, temporary, visit
from fader_demo.ui.guard import HEADERS, MEGABYTE, Guard, Rates, client_of, from_elsewhere
from fader_demo.ui.photo import MAX_MEGABYTES

MOVE = "/gradio_api/component_server"
JOIN = "/gradio_api/queue/join"
UPLOAD = "/gradio_api/upload"
STREAM = "/gradio_api/heartbeat/0"
VISITOR = {"X-Forwarded-For": "203.0.113.7"}


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def read_body(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers with the length of what it was sent, and hides why it was not."""
    try:
        answer = PlainTextResponse(str(len(await Request(scope, receive).body())))
    except Exception:
        answer = PlainTextResponse("It could not be read.", 400)
    await answer(scope, receive, send)


def ask(
    guarded: ASGIApp, method: str, path: str, peer: str = "127.0.0.1", **request: Any
) -> httpx.Response:
    """What a client gets that is connected from this address."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(guarded, client=(peer, 4000))
        async with httpx.AsyncClient(transport=transport, base_url="http://fader") as client:
            return await client.request(method, path, **request)

    return asyncio.run(asked())


async def endless(chunk: bytes = b"a" * 65536) -> AsyncIterator[bytes]:
    while True:
        yield chunk


# What every answer carries


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 200), ("POST", JOIN, 413), ("GET", "/nothing", 404), ("GET", STREAM, 500)],
)
def test_every_answer_has_the_headers(method: str, path: str, status: int) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == STREAM:
            raise RuntimeError("a secret of ours")
        await read_body(scope, receive, send)

    answer = ask(
        Guard(failing), method, path, content=b"a" * 2 * MEGABYTE if status == 413 else b""
    )
    assert answer.status_code == status
    assert HEADERS.items() <= {key.title(): value for key, value in answer.headers.items()}.items()
    assert "secret" not in answer.text


# What is open


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=https://a.hf.space/",
        "/gradio_api/file=http://127.0.0.1/",
        "/gradio_api/file=HTTPS://example.org/a.png",
        "/gradio_api/file=ftp://example.org/a.png",
        "/gradio_api/file/tmp/a.png",
        "/gradio_api/process_recording",
        "/gradio_api/dev/reload",
        "/gradio_api/vibe-code",
        "/gradio_api/deep_link",
        "/gradio_api/run/edit",
        "/gradio_api/api/edit",
        "/gradio_api/custom_component/a/client/b/c",
        "/gradio_api/stream/a/b/0/playlist-file",
        "/gradio_api/run-history/connect",
        "/gradio_api/runs",
        "/monitoring",
        "/monitoring/summary",
        "/svelte/a.js",
        "/docs",
        "/gradio_api/queue/join/../../../etc",
        "/gradio_api/queue/join%0A",
    ],
)
def test_what_the_page_does_not_need_is_not_there(path: str) -> None:
    assert ask(Guard(read_body), "GET", path).status_code == 404
    assert ask(Guard(read_body), "POST", path).status_code == 404


@pytest.mark.parametrize(
    ("method", "headers", "elsewhere"),
    [
        ("POST", {}, False),  # a program
        ("POST", {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, False),
        ("GET", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, False),
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, False),  # a link
        ("POST", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, True),  # a form
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, True),
        ("POST", {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, True),
        ("POST", {"origin": "http://fader:7860", "host": "fader:7860"}, False),
        ("POST", {"origin": "http://fader:80", "host": "fader:7860"}, True),
        ("POST", {"origin": "null", "host": "fader:7860"}, True),
    ],
)
def test_pages_of_other_sites_may_link_and_nothing_else(
    method: str, headers: dict[str, str], elsewhere: bool
) -> None:
    assert from_elsewhere(method, Headers(headers)) == elsewhere
    status = ask(Guard(read_body), method, "/", headers=headers).status_code
    assert (status == 403) == elsewhere


# Rates


def test_a_bucket_empties_and_fills_again() -> None:
    clock = Clock()
    rates = Rates(clock)
    assert [rates.wait("a", 2, 3) for _ in range(4)] == [0, 0, 0, 0.5]
    assert rates.wait("b", 2, 3) == 0  # another's is full
    clock.now += 0.5
    assert rates.wait("a", 2, 3) == 0
    assert rates.wait("a", 2, 3) == pytest.approx(0.5)
    clock.now += 100
    assert [rates.wait("a", 2, 3) for _ in range(4)] == [0, 0, 0, 0.5]


def test_who_is_refused_does_not_wait_longer_for_asking_again() -> None:
    rates = Rates(Clock())
    rates.wait("a", 1, 1)
    assert [rates.wait("a", 1, 1) for _ in range(3)] == [1, 1, 1]


def test_only_so_many_clients_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_CLIENTS", 2)
    rates = Rates(Clock())
    rates.wait("busy", 1, 1)
    for name in ("b", "c", "d"):
        rates.wait(name, 1, 1)
        assert rates.wait("busy", 1, 1)  # heard of last, so remembered
    assert rates.wait("b", 1, 1) == 0
    assert len(rates._full) == 2


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guarded(clock: Clock) -> Guard:
    """The guard, before an app that reads a body, with a clock of the test's own."""
    guarded = Guard(read_body)
    guarded._rates = Rates(clock)
    return guarded


def test_one_uploads_too_often_and_is_told_when_to_go_on(guarded: Guard, clock: Clock) -> None:
    answers = [ask(guarded, "POST", UPLOAD, "203.0.113.7") for _ in range(25)]
    assert [answer.status_code for answer in answers] == [200] * 24 + [429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert answers[-1].json() == {"detail": "Too many requests. Try again in 1 s."}
    assert ask(guarded, "POST", UPLOAD, "203.0.113.8").status_code == 200
    assert ask(guarded, "POST", MOVE, "203.0.113.7").status_code == 200
    clock.now += 1
    assert ask(guarded, "POST", UPLOAD, "203.0.113.7").status_code == 200


def test_a_slider_moves_sixty_times_a_second(guarded: Guard, clock: Clock) -> None:
    for _ in range(600):
        clock.now += 1 / 60
        assert ask(guarded, "POST", MOVE, "203.0.113.7").status_code == 200


def test_a_page_loads_its_parts_at_once(guarded: Guard) -> None:
    statuses = {
        ask(guarded, "GET", f"/assets/{i}.js", "203.0.113.7").status_code for i in range(400)
    }
    assert statuses == {200}


def test_this_machines_own_user_is_not_counted_but_whoever_comes_through_it_is(
    guarded: Guard,
) -> None:
    own = [ask(guarded, "POST", "/login").status_code for _ in range(30)]
    assert set(own) == {200}
    forwarded = [ask(guarded, "POST", "/login", headers=VISITOR).status_code for _ in range(30)]
    assert 429 in forwarded


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("127.0.0.1", None),
        ("::1", None),
        ("unknown" * 100, ("unknown" * 100)[:64]),
    ],
)
def test_a_client_is_an_address_or_an_ipv6_network(peer: str, client: str | None) -> None:
    assert client_of({"type": "http", "client": (peer, 0), "headers": []}) == client


# Bodies


def test_a_body_is_taken_up_to_its_limit() -> None:
    for path, megabytes in ((JOIN, 1), (UPLOAD, 26)):
        body = b"a" * megabytes * MEGABYTE
        assert ask(Guard(read_body), "POST", path, content=body).text == str(len(body))
        refused = ask(Guard(read_body), "POST", path, content=body + b"a")
        assert refused.status_code == 413 and f"{megabytes} MB" in refused.text
        assert refused.headers["Connection"] == "close"


@pytest.mark.parametrize(
    "path", [MOVE, JOIN, STREAM, UPLOAD, "/gradio_api/call/edit", "/login", "/"]
)
def test_a_body_that_does_not_say_how_long_it_is_is_cut_off(path: str) -> None:
    taken = 0

    async def count() -> AsyncIterator[bytes]:
        nonlocal taken
        async for chunk in endless():
            taken += len(chunk)
            yield chunk

    assert ask(Guard(read_body), "POST", path, content=count()).status_code == 413
    assert taken < 27 * MEGABYTE


def test_a_body_that_does_not_arrive_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b"a"
            await asyncio.sleep(0.01)

    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)
    answer = ask(Guard(read_body), "POST", JOIN, content=trickle())
    assert answer.status_code == 408 and answer.headers["Connection"] == "close"


# Time, and how much at once


async def sleep_on(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.3)
    await PlainTextResponse("done")(scope, receive, send)


def test_an_answer_may_not_take_forever_unless_it_is_a_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "ANSWER_SECONDS", 0.05)
    assert ask(Guard(sleep_on), "GET", "/config").status_code == 503
    assert ask(Guard(sleep_on), "GET", STREAM).text == "done"


@pytest.mark.parametrize(
    ("limit", "peer", "status"),
    [("OPEN_AT_ONCE", "203.0.113.7", 429), ("OPEN_IN_ALL", "127.0.0.1", 503)],
)
def test_only_so_many_streams_are_open_at_once(
    monkeypatch: pytest.MonkeyPatch, limit: str, peer: str, status: int
) -> None:
    async def asked() -> None:
        guarded = Guard(sleep_on)
        transport = httpx.ASGITransport(guarded, client=(peer, 4000))
        async with httpx.AsyncClient(transport=transport, base_url="http://fader") as client:
            answers = await asyncio.gather(*(client.get(STREAM) for _ in range(5)))
            assert sorted(a.status_code for a in answers) == [200, 200, 200, status, status]
            assert {a.headers.get("Retry-After") for a in answers if a.status_code == status} <= {
                "5",
                "60",
            }
            assert (await client.get(STREAM)).status_code == 200  # those before are over

    monkeypatch.setattr(guard, limit, 3)
    asyncio.run(asked())


# Failures


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyError("/srv/a"), 400), (OSError("/srv/a"), 507), (RuntimeError("/srv/a"), 500)],
    ids=repr,
)
def test_a_failure_shows_no_details(error: Exception, status: int) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    answer = ask(Guard(failing), "POST", MOVE)
    assert answer.status_code == status and "srv" not in answer.text


def test_a_failure_in_the_middle_of_an_answer_ends_it() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise OSError("/srv/a")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": STREAM, "headers": []}
    asyncio.run(Guard(failing)(scope, send, send))  # type: ignore[arg-type]
    assert [message["type"] for message in sent] == ["http.response.start"]


def test_who_leaves_in_the_middle_of_a_request_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()

    async def left() -> Message:
        return {"type": "http.disconnect"}

    headers = [(b"content-length", b"5")]
    scope = {"type": "http", "method": "POST", "path": JOIN, "headers": headers}
    asyncio.run(Guard(reading)(scope, left, None))  # type: ignore[arg-type]
    assert not caplog.records


# What is written down


def test_the_limits_that_are_written_down_are_those_that_hold() -> None:
    text = " ".join((app.ROOT / "SECURITY.md").read_text(encoding="utf-8").split())
    rates = {path: (f"{r.per_second:g} a second", f"({r.burst} at once)") for path, r in _routes()}
    rates["/login"] = ("1 in 5 s", "(10 at once)")
    written = [f"{' '.join(rate)} |" for rate in rates.values()]
    written += [
        f"{MAX_MEGABYTES} MB, {photos.MAX_PIXELS // 10**6} megapixels, {photos.MIN_SIDE} pixels",
        f"{visit.MAX_PHOTOS}, and {visit.MAX_PIXELS // 10**6} megapixels together",
        f"each for {visit.KEPT_SECONDS} s at most",
        f"{temporary.KEPT_SECONDS} s, swept every {temporary.SWEPT_EVERY} s",
        f"arrives within {guard.BODY_SECONDS} s",
        f"An answer | {guard.ANSWER_SECONDS} s",
        f"{guard.OPEN_AT_ONCE} for a client, {guard.OPEN_IN_ALL} in all",
        f"Events that wait | {app.WAITING} |",
        f"{pretrained.MAX_ATTRIBUTES} attributes of {pretrained.MAX_CHOICES} choices",
    ]
    assert [words for words in written if words not in text] == []


def _routes() -> list[tuple[str, guard.Route]]:
    """Of each rate that is written down a path that has it, and the route."""
    paths = (MOVE, JOIN, "/gradio_api/call/edit", UPLOAD, "/assets/a.js")
    return [(p, next(r for r in guard.ROUTES if re.fullmatch(r.paths, p))) for p in paths]


# The environment


def test_a_password_opens_the_page_whatever_the_users_name() -> None:
    auth = app.launch_settings({"FADER_PASSWORD": "tülip"})["auth"]
    assert auth("anybody", "tülip") and auth("", "tülip")
    assert not auth("anybody", "tulip") and not auth("tülip", "")
    assert app.launch_settings({})["auth"] is None


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PORT": "http"}, "PORT must be a number"),
        ({"PORT": "0"}, "PORT must be a number"),
        ({"PORT": "70000"}, "PORT must be a number"),
        ({"FADER_PASSWORD": ""}, "FADER_PASSWORD is empty"),
        ({"FADER_PASSWORD": "  "}, "FADER_PASSWORD is empty"),
        ({"FADER_PASSWORD": "tulip", "MCP": "1"}, "exclude each other"),
    ],
)
def test_settings_that_cannot_be_are_named(environment: dict[str, str], words: str) -> None:
    with pytest.raises(app.SettingError, match=words):
        app.launch_settings(environment)
