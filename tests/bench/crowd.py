"""Many visitors at once: how long each waits for the picture of a move, and what is left undone.

    python -m tests.bench.crowd --seconds 60

Visitors speak the page's protocol from this process; the app is in one of its own. Each opens a
photo of their own and drags a slider at RATE moves a second. Like the page, they ask for one
picture at a time, and then for the newest move. A latency is from the move of the hand to the
picture, so it holds all waiting. At the end each picture is compared with what the editor draws.

Beside it the plain app (``plain``): every picture an event in the queue, a model call of its own,
and a file that is fetched.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from fader_demo import Editor
from fader_demo.serving import MOST_ACTIVE
from fader_demo.ui.pictures import LIVE_SIDE, data_uri
from tests.bench.plain import MOVED
from tests.bench.protocol import Refused, Visitor
from tests.bench.served import MODEL, Served, served
from tests.bench.table import Row, show, spread

RATE = 10
"""Moves a second of every visitor's hand."""
CROWDS = (1, 4, 16, MOST_ACTIVE)
PLAIN_CROWDS = (1, 4, 16)
NEWCOMERS = 8
"""Who come while as many are at the page as may be."""
TARGET_MS = 250
"""95th percentile of a crowd of 16."""
ALIKE = 0.5
"""Mean absolute difference in grey levels below which two JPEGs are of the same picture."""


@dataclass
class Drag:
    """What came of a visitor's moves. latencies: milliseconds of those that were drawn."""

    moves: int = 0
    last: float = 0.0
    latencies: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    picture: str = ""


class PlainVisitor(Visitor):
    """A visitor of the plain app."""

    async def open(self, photo: Path) -> None:
        await self.call("photo", "upload", "slider", {"photo": await self.upload(photo)})

    async def draw(self, values: Mapping[str, float]) -> dict[str, Any]:
        await self.fetched("slider", "input", "result", {"slider": values[MOVED]})
        return {"source": ""}


def measure(seconds: float = 60) -> Iterator[Row]:
    editor = Editor.from_pretrained(MODEL)
    with tempfile.TemporaryDirectory() as folder:
        photos = portraits(Path(folder), max(CROWDS))
        for size in CROWDS:
            with served() as app:
                drags = asyncio.run(crowd(app.address, photos[:size], seconds))
                row = summary(f"crowd of {size}", drags, seconds, app)
            yield row | {"wrong pictures": wrong(editor, photos, drags)}
        for size in PLAIN_CROWDS:
            with served("-m", "tests.bench.plain") as app:
                drags = asyncio.run(crowd(app.address, photos[:size], seconds, PlainVisitor))
                yield summary(f"crowd of {size}, plain app", drags, seconds, app)
        with served() as app:
            yield from asyncio.run(full_house(app, photos[:MOST_ACTIVE], seconds))


def portraits(folder: Path, count: int) -> list[Path]:
    """Photos of one face, no two of the same brightness."""
    astronaut = Image.fromarray(data.astronaut())
    paths = [folder / f"portrait-{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        brightness = 1 - 0.6 * number / count
        astronaut.point(lambda level, by=brightness: level * by).save(path, quality=95)
    return paths


@asynccontextmanager
async def gathered(
    address: str, photos: Sequence[Path], kind: type[Visitor] = Visitor
) -> AsyncIterator[list[Visitor]]:
    """Visitors who have opened a photo each."""
    async with AsyncExitStack() as stack:
        visitors = [await stack.enter_async_context(kind(address)) for _ in photos]
        for visitor, photo in zip(visitors, photos, strict=True):
            await visitor.open(photo)
        yield visitors


async def crowd(
    address: str, photos: Sequence[Path], seconds: float, kind: type[Visitor] = Visitor
) -> list[Drag]:
    """One visitor to a photo, all dragging at once."""
    async with gathered(address, photos, kind) as visitors:
        return await asyncio.gather(*(drag(visitor, seconds) for visitor in visitors))


async def full_house(app: Served, photos: Sequence[Path], seconds: float) -> list[Row]:
    """As many as may be at the page drag; in the midst of it some more come."""

    async def come() -> list[str]:
        await asyncio.sleep(seconds / 2)
        return await asyncio.gather(*(_turned_away(app.address, p) for p in photos[:NEWCOMERS]))

    async with gathered(app.address, photos) as visitors:
        drags = asyncio.gather(*(drag(visitor, seconds) for visitor in visitors))
        answers = await come()
        dragged = await drags
    busy = sum("Too many people" in answer for answer in answers)
    return [
        summary(f"crowd of {len(photos)}, while {NEWCOMERS} more come", dragged, seconds, app),
        {"figure": f"newcomers beyond {len(photos)}", "come": NEWCOMERS, "are told to wait": busy},
    ]


async def _turned_away(address: str, photo: Path) -> str:
    """What somebody is told whose photo is not opened."""
    async with Visitor(address) as visitor:
        try:
            await visitor.open(photo)
        except Refused as refused:
            return str(refused)
    return ""


async def drag(visitor: Visitor, seconds: float) -> Drag:
    """Moves a slider there and back; asks for the newest move once the last one is answered."""
    drag = Drag(moves=round(seconds * RATE))
    await asyncio.sleep(random.random() / RATE)  # hands do not move in step
    began, asked = time.perf_counter(), -1
    while asked < drag.moves - 1:
        due = min(int((time.perf_counter() - began) * RATE), drag.moves - 1)
        moved_at = began + due / RATE
        if due == asked:
            await asyncio.sleep(moved_at + 1 / RATE - time.perf_counter())
            continue
        asked, drag.last = due, place(due)
        try:
            answer = await visitor.draw({MOVED: drag.last})
        except (Refused, httpx.HTTPError) as error:
            answer = {"problem": repr(error)}
        if "problem" in answer:
            drag.problems.append(answer["problem"])
        else:
            drag.latencies.append(1000 * (time.perf_counter() - moved_at))
            drag.picture = answer["source"]
    return drag


def place(move: int) -> float:
    """Where the slider stands: from 1 to 0 and back in four seconds."""
    return abs((move / RATE) % 4 - 2) / 2


def summary(figure: str, drags: Sequence[Drag], seconds: float, app: Served) -> Row:
    latencies = [each for drag in drags for each in drag.latencies]
    moves = sum(drag.moves for drag in drags)
    problems = Counter(problem for drag in drags for problem in drag.problems)
    del problems["superseded"]
    return {
        **spread(figure, latencies, 95, 99),
        "pictures/s": len(latencies) / seconds,
        "pictures/s each": len(latencies) / seconds / len(drags),
        "% of moves replaced": 100 * (1 - (len(latencies) + problems.total()) / moves),
        "failures": problems.total(),
        "server MB": app.megabytes,
    } | ({"problems": dict(problems)} if problems else {})


def wrong(editor: Editor, photos: Sequence[Path], drags: Sequence[Drag]) -> int:
    """Visitors whose last picture is not that of their own photo and last move."""
    return sum(
        difference(drag.picture, editor, photo, drag.last) > ALIKE
        for photo, drag in zip(photos, drags, strict=False)
    )


def difference(source: str, editor: Editor, photo: Path, value: float) -> float:
    """Mean absolute difference, in grey levels, of a page's picture and the editor's."""
    if not source:
        return float("inf")
    drawn = editor.paste(editor.open(photo), {MOVED: value}, LIVE_SIDE)
    one, other = (_pixels(uri) for uri in (source, data_uri(drawn)))
    return float(np.abs(one - other).mean()) if one.shape == other.shape else float("inf")


def _pixels(uri: str) -> NDArray[np.float64]:
    encoded = base64.b64decode(uri.partition(",")[2])
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image, dtype=np.float64)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of every drag")
    show(measure(parser.parse_args().seconds))
