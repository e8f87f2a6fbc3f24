"""A visitor without a browser: what the page in one says to the server, over the same routes."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

API = "gradio_api"
PATIENCE = 300.0
"""Seconds that an answer may take."""


class Refused(Exception):
    """The server did not do what it was asked; the message says why, in its own words."""


class Wiring:
    """Components and events of a served page, by the names that its source gives them."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        props = {part["id"]: part["props"] for part in config["components"]}
        named = {p["elem_id"]: key for key, p in props.items() if p.get("elem_id")}
        self.ids: dict[str, int] = named
        self._first_values = {key: p.get("value") for key, p in props.items()}
        self._events = config["dependencies"]

    def event(self, name: str, happening: str, output: str) -> dict[str, Any]:
        """The event of a component (None: of the page) that answers to an output."""
        for event in self._events:
            aimed = [self.ids.get(name), happening] in [list(t) for t in event["targets"]]
            if aimed and self.ids[output] in event["outputs"]:
                return dict(event)
        raise LookupError(f"The page has no {happening} of {name} that changes {output}.")

    def inputs(self, event: Mapping[str, Any], given: Mapping[str, Any]) -> list[Any]:
        """An event's inputs: what is given by name; all else as the page begins with it."""
        values = self._first_values | {self.ids[name]: value for name, value in given.items()}
        return [values[key] for key in event["inputs"]]


class Visitor:
    """A session on a page, whose state is kept until it leaves. Use as ``async with``.

    One event at a time: two streams of one session would take each other's messages.

    ``face`` is the sliders' value as the server gave it when the photo was opened.
    """

    def __init__(self, address: str) -> None:
        self._http = httpx.AsyncClient(base_url=address, verify=False, timeout=PATIENCE)
        self._session = secrets.token_hex(8)
        self._alive: asyncio.Task[None] | None = None
        self.face: dict[str, Any] = {}

    async def __aenter__(self) -> Visitor:
        (await self._http.get("/")).raise_for_status()
        self._page = Wiring((await self._http.get("/config")).raise_for_status().json())
        self._alive = asyncio.create_task(self._stay())
        return self

    async def __aexit__(self, *_: object) -> None:
        """As when a window is closed: connections end, nobody says goodbye."""
        assert self._alive is not None
        self._alive.cancel()
        await asyncio.gather(self._alive, return_exceptions=True)
        await self._http.aclose()

    async def open(self, photo: Path) -> None:
        """Uploads a photo and opens it. Raises Refused if it cannot be edited, or not now."""
        opening = {"photos": [{"upload": 0, "file": await self.upload(photo)}]}
        answers = await self.call("photo", "upload", "sliders", {"photo": opening})
        self.face = answers[self._page.ids["sliders"]]

    async def upload(self, file: Path) -> dict[str, Any]:
        """A file, as events take it."""
        files = {"files": (file.name, file.read_bytes())}
        answer = (await self._http.post(f"/{API}/upload", files=files)).raise_for_status()
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}

    def moved(self, values: Mapping[str, float]) -> dict[str, Any]:
        """The sliders' value once these were moved."""
        return self.face | {"now": self.face["start"] | values}

    async def draw(self, values: Mapping[str, float]) -> dict[str, Any]:
        """A move: {"source": data URI, ...} or {"problem": why it was not drawn, ...}."""
        body = {
            "data": self.moved(values),
            "component_id": self._page.ids["sliders"],
            "fn_name": "draw",
            "session_hash": self._session,
        }
        answer = await self._http.post(f"/{API}/component_server/", json=body)
        return dict(answer.raise_for_status().json())

    async def call(
        self,
        name: str,
        happening: str,
        output: str,
        given: Mapping[str, Any],
        details: Mapping[str, Any] | None = None,
    ) -> dict[int, Any]:
        """An event through the queue. Output values by component id; Refused if it has none.

        details: what the event itself says (``gr.EventData``).
        """
        event = self._page.event(name, happening, output)
        body = {
            "data": self._page.inputs(event, given),
            "fn_index": event["id"],
            "event_data": details,
            "session_hash": self._session,
        }
        joined = await self._http.post(f"/{API}/queue/join", json=body)
        async with asyncio.timeout(PATIENCE):
            return dict(zip(event["outputs"], await self._answer(joined), strict=True))

    async def fetched(
        self,
        name: str,
        happening: str,
        output: str,
        given: Mapping[str, Any],
        details: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The file that an event (``call``) makes an output's value, fetched."""
        answers = await self.call(name, happening, output, given, details)
        address = answers[self._page.ids[output]]["url"]
        return (await self._http.get(address)).raise_for_status().content

    async def _answer(self, joined: httpx.Response) -> list[Any]:
        """Reads the stream to its end: one that is left early takes the next event along."""
        joined.raise_for_status()
        outputs: list[Any] = []
        said = ["the server ended the stream"]
        params = {"session_hash": self._session}
        async with self._http.stream("GET", f"/{API}/queue/data", params=params) as stream:
            async for line in stream.aiter_lines():
                message = json.loads(line.removeprefix("data:")) if line else {}
                if message.get("msg") == "log":
                    said.append(message["log"])
                if message.get("msg") == "process_completed":
                    outputs = message["output"].get("data", [])
                    said += filter(None, [message["output"].get("error")])
        if not any(map(_is_new, outputs)):
            raise Refused(said[-1])
        return outputs

    async def _stay(self) -> None:
        """The stream by whose end the server knows that the visitor has left."""
        path = f"/{API}/heartbeat/{self._session}"
        async with self._http.stream("GET", path, timeout=None) as stream:
            async for _ in stream.aiter_raw():
                pass


def _is_new(output: Any) -> bool:
    """Whether an output is a value, and not left as it was or kept on the server."""
    return output is not None and not (isinstance(output, dict) and "__type__" in output)
