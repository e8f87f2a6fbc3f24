"""What stands between strangers and the app: closed routes, limits, and headers on every answer."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from gradio.route_utils import FnIndexInferError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fader_demo.ui.download import NO_FILES
from fader_demo.ui.photo import MAX_MEGABYTES
from fader_demo.ui.visit import OUR_FAULT, log_failure

MEGABYTE = 2**20
BODY_SECONDS = 300
"""Seconds in which a request must have arrived: an upload of `MAX_MEGABYTES` at a megabit."""
ANSWER_SECONDS = 600
"""Seconds that an answer may take, streams excepted; the largest download has them too."""
OPEN_AT_ONCE = 64
"""Requests of one client under way at once, streams among them; an open page holds two or three."""
OPEN_IN_ALL = 1000
"""The same, of all clients together."""
MAX_CLIENTS = 10_000
"""Clients whose rates are remembered; past that, who was not heard of for longest is forgotten."""

HEADERS = {
    # Gradio's page has inline scripts and compiles templates: its scripts can be held to this
    # origin, but not to files.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self'",
            "font-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'self' https://huggingface.co https://*.hf.space",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), clipboard-read=(self), clipboard-write=(self), "
    "display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_CLOSING = {"Connection": "close"}
"""Where a body has not arrived as a whole: nobody will read the rest."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Route:
    """Paths that are open, and the limits for each client who asks for them.

    paths: a regular expression of the whole path. per_second, burst: requests in the long run, and
    at once after a rest. most_bytes: of a request's body. stream: whether an answer may last as
    long as the visit.
    """

    paths: str
    per_second: float
    burst: int
    most_bytes: int = MEGABYTE
    stream: bool = False


ROUTES = (
    Route(r"/gradio_api/component_server/?", 240, 480),  # moves of sliders
    Route(r"/gradio_api/(queue/join|run/predict|cancel|reset)/?", 30, 120),  # the page's events
    Route(r"/gradio_api/(queue/data|heartbeat/[\w-]+|upload_progress)", 30, 120, stream=True),
    Route(r"/gradio_api/(call|mcp)(/.*)?", 2, 20, stream=True),  # programs
    Route(r"/gradio_api/upload/?", 1, 24, (MAX_MEGABYTES + 1) * MEGABYTE),
    Route(r"/login/?", 0.2, 10),
    Route(
        r"/|/(assets|static)/.+|/(config|logout)/?|/(favicon\.ico|manifest\.json|robots\.txt)"
        r"|/pwa_icon(/\d+)?|(/gradio_api)?/theme\.css|/gradio_api/file=(/|[A-Za-z]:).+"
        r"|/gradio_api/(info|openapi\.json|login_check|user|token|app_id|startup-events)/?",
        *(100, 1000),
    ),
)
"""All that is open. Gradio has more routes: fetching addresses for others, recordings, reloads."""
CLOSED = Route("", 0, 0, 0)
"""Every other path."""


class Guard:
    """ASGI middleware around Gradio's app.

    A request that no route allows gets 404, one from another site's page 403, one that is too long
    or too slow 413 or 408, one too many 429 or, when all clients together ask too much, 503.
    Whoever works at this machine itself is not counted.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._rates = Rates()
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        route = next((route for route in ROUTES if re.fullmatch(route.paths, path)), CLOSED)
        exchange = _Exchange(scope, receive, send, route.most_bytes)
        if refusal := self._refusal(scope, route):
            await exchange.refuse(refusal)
            return
        client = client_of(scope) or ""
        self._open[client] += 1
        try:
            await self._answer(exchange, route)
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]

    async def _answer(self, exchange: _Exchange, route: Route) -> None:
        """Lets the app answer. How it fails is nobody's business."""
        try:
            async with asyncio.timeout(None if route.stream else ANSWER_SECONDS):
                await self._app(exchange.scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            pass  # nobody is left to be told
        except TimeoutError:
            await exchange.refuse(_Refusal(503, "This took too long. Try again."))
        except (FnIndexInferError, LookupError, TypeError, ValueError) as error:
            # Gradio looks up what a request names, and repeats what is wrong with it, unprepared
            # for names that are not there and for what JSON cannot say.
            _logger.warning("%s: %s", route.paths, type(error).__name__)
            await exchange.refuse(_Refusal(400, "This asks for something that is not here."))
        except OSError as error:
            _logger.error("A request failed: %s", error.strerror)
            await exchange.refuse(_Refusal(507, NO_FILES))
        except Exception:
            log_failure(route.paths)
            await exchange.refuse(_Refusal(500, OUR_FAULT))

    def _refusal(self, scope: Scope, route: Route) -> _Refusal | None:
        """Why a request is refused before the app sees it."""
        headers = Headers(scope=scope)
        if route is CLOSED:
            return _Refusal(404, "There is nothing here.")
        if from_elsewhere(scope["method"], headers):
            return _Refusal(403, "Pages of other sites cannot use this one.")
        if int(headers.get("content-length", "0")) > route.most_bytes:
            return too_long(route.most_bytes)
        if self._open.total() >= OPEN_IN_ALL:
            return _Refusal(503, "Too many people are here. Try again in a minute.", 60)
        client = client_of(scope)
        if client is None:
            return None
        if self._open[client] >= OPEN_AT_ONCE:
            return _Refusal(429, "Too much is open at once. Close a page, and try again.", 5)
        wait = self._rates.wait(f"{route.paths} {client}", route.per_second, route.burst)
        if wait:
            return _Refusal(429, f"Too many requests. Try again in {math.ceil(wait)} s.", wait)
        return None


class Rates:
    """A token bucket for each key, kept as one number (the generic cell rate algorithm)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full: dict[str, float] = {}  # when each bucket will be full again

    def wait(self, key: str, per_second: float, burst: int) -> float:
        """Takes a token and returns 0.0; where there is none, the seconds until there is."""
        now = self._clock()
        full = max(self._full.pop(key, now), now)
        wait = full - now - (burst - 1) / per_second
        self._full[key] = full if wait > 0 else full + 1 / per_second  # now the last in the dict
        if len(self._full) > MAX_CLIENTS:
            del self._full[next(iter(self._full))]
        return max(wait, 0.0)


def client_of(scope: Scope) -> str | None:
    """Whom a request counts for; None for whoever works at this machine itself.

    The server has put a trusted proxy's word in place of the peer's address. Of IPv6, which is
    given out in networks, the network counts.
    """
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # what a proxy says can be anything
        return host[:64]
    if address.is_loopback and "x-forwarded-for" not in Headers(scope=scope):
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def from_elsewhere(method: str, headers: Headers) -> bool:
    """Whether another site's page asks, be it in a visitor's name; links and frames may.

    Browsers say so, or name at least the page's origin; programs say nothing.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None:
        return origin is not None and urlsplit(origin).netloc != headers.get("host")
    navigates = headers.get("sec-fetch-mode") == "navigate" and method in ("GET", "HEAD")
    return site in ("cross-site", "same-site") and not navigates


def password_check(password: str) -> Callable[[str, str], bool]:
    """For Gradio's ``auth``: this password opens the page, whatever the user's name."""

    def matches(_: str, given: str) -> bool:
        return secrets.compare_digest(given.encode(), password.encode())

    return matches


@dataclass(frozen=True)
class _Refusal:
    """An answer in place of the app's, in the form of its errors. retry: in so many seconds."""

    status: int
    message: str
    retry: float | None = None

    def response(self) -> JSONResponse:
        headers = HEADERS | _CLOSING
        if self.retry is not None:
            headers["Retry-After"] = str(math.ceil(self.retry))
        return JSONResponse({"detail": self.message}, self.status, headers)


def too_long(most_bytes: int) -> _Refusal:
    return _Refusal(413, f"This is more than the {most_bytes / MEGABYTE:g} MB that are taken here.")


class _Exchange:
    """A request and its answer. What the app makes of a broken body is not sent."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, most_bytes: int) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self._most_bytes = most_bytes
        self._taken = 0
        self._arrived = {"content-length", "transfer-encoding"}.isdisjoint(Headers(scope=scope))
        self._deadline = time.monotonic() + BODY_SECONDS
        self._begun = False
        self._refused = False

    async def receive(self) -> Message:
        """The body, as far as it keeps to its limits; where it does not, the client is as gone."""
        if self._refused:
            return {"type": "http.disconnect"}
        if self._arrived:
            return await self._receive()
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            return await self._refuse_body(_Refusal(408, "This took too long to arrive."))
        self._taken += len(message.get("body", b""))
        if self._taken > self._most_bytes:
            return await self._refuse_body(too_long(self._most_bytes))
        self._arrived = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if self._refused:
            return
        if message["type"] == "http.response.start":
            self._begun = True
            closing = {} if self._arrived else _CLOSING
            MutableHeaders(scope=message).update(HEADERS | closing)
        await self._send(message)

    async def refuse(self, refusal: _Refusal) -> None:
        """Answers with this, unless there has been an answer."""
        if not self._begun and not self._refused:
            self._refused = True
            await refusal.response()(self.scope, self._receive, self._send)

    async def _refuse_body(self, refusal: _Refusal) -> Message:
        await self.refuse(refusal)
        return {"type": "http.disconnect"}
