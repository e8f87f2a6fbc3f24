"""Visitors come, do all there is to do, and leave, for a long time. Run by ``make soak``.

    python -m tests.bench.soak --minutes 20

Memory, threads, open files and files left in the temporary folder are read before, once everything
has been used, and after everybody has left. Whatever has grown by more than GROWTH fails the soak.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from fader_demo.clips import CLIP_FORMATS
from fader_demo.saving import PICTURE_FORMATS
from fader_demo.ui.temporary import KEPT_SECONDS, SWEPT_EVERY
from tests.bench.crowd import portraits
from tests.bench.plain import MOVED
from tests.bench.protocol import Refused, Visitor
from tests.bench.served import Served, served
from tests.bench.table import line

VISITORS = 4
"""Who are at the page at once."""
WARM_UP_SECONDS = 300
"""In which memory pools and threads reach the size that they keep."""
REST_SECONDS = 20
"""In which the server notices who has left."""
GROWTH = {"MB": 60, "threads": 4, "open files": 4, "files past their time": 0}

State = dict[str, float]
Deed = Callable[[Visitor, random.Random], Awaitable[object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder, served() as app:
        photos = [*portraits(Path(folder), 4), *bad_files(Path(folder))]
        print(line({"figure": "at rest, before anybody came"} | state(app)), flush=True)
        before, after = (asyncio.run(used(app, photos, s)) for s in (WARM_UP_SECONDS, 60 * minutes))
    grown = {what: after[what] - before[what] for what in GROWTH}
    print(line({"figure": "growth"} | grown))
    if any(grown[what] > most for what, most in GROWTH.items()):
        sys.exit(f"Something was not given back. Allowed: {GROWTH}")


def bad_files(folder: Path) -> list[Path]:
    """Files that cannot be edited."""
    files = {"letter.jpg": b"Dear all,", "empty.png": b"", "cut.png": b"\x89PNG\r\n\x1a\n"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


async def used(app: Served, photos: list[Path], seconds: float) -> State:
    """What is left of an app's use for so long, once everybody has left."""
    done: Counter[str] = Counter()
    until = time.monotonic() + seconds
    streams = (_one_after_the_other(app, photos, until, seed, done) for seed in range(VISITORS))
    await asyncio.gather(*streams)
    await asyncio.sleep(REST_SECONDS)
    left = state(app)
    print(
        line({"figure": f"after {seconds / 60:.0f} minutes"} | left | {"done": dict(done)}),
        flush=True,
    )
    return left


async def _one_after_the_other(
    app: Served, photos: list[Path], until: float, seed: int, done: Counter[str]
) -> None:
    """Visitors, each of whom opens a photo and does some of all that can be done."""
    chance = random.Random(seed)
    while time.monotonic() < until:
        async with Visitor(app.address) as visitor:
            try:
                await visitor.open(chance.choice(photos))
                for deed in (*chance.choices(DEEDS, k=6), _lose_patience):
                    await deed(visitor, chance)
                    done[deed.__name__.strip("_")] += 1
            except (Refused, TimeoutError, httpx.HTTPError) as error:
                done[str(error) or repr(error)] += 1


async def _drag(visitor: Visitor, chance: random.Random) -> None:
    for _ in range(20):
        await visitor.draw({MOVED: chance.random()})


async def _strip(visitor: Visitor, _: random.Random) -> None:
    await visitor.call("sliders", "apply", "strip", {"sliders": visitor.moved({MOVED: 0.5})})


async def _grid(visitor: Visitor, _: random.Random) -> None:
    await _saved(visitor, "download-grid", "click", format="png")


async def _download(visitor: Visitor, chance: random.Random) -> None:
    await _saved(visitor, "download", "click", format=chance.choice(list(PICTURE_FORMATS)))


async def _clip(visitor: Visitor, chance: random.Random) -> None:
    ends = {"from": {"moved": {}}, "to": {"moved": {MOVED: 0.5}}}
    await _saved(visitor, "animation", "make", suffix=chance.choice(list(CLIP_FORMATS)), **ends)


async def _lose_patience(visitor: Visitor, chance: random.Random) -> None:
    """Leaves while the clip is being drawn that was asked for."""
    with suppress(TimeoutError):
        await asyncio.wait_for(_clip(visitor, chance), timeout=0.3)


async def _saved(visitor: Visitor, name: str, happening: str, **details: Any) -> None:
    await visitor.fetched(name, happening, name, {"sliders": visitor.moved({MOVED: 0.5})}, details)


DEEDS: list[Deed] = [_drag, _strip, _grid, _download, _clip]


def state(app: Served) -> State:
    return {
        "MB": app.megabytes,
        "threads": app.threads,
        "open files": app.open_files,
        "files past their time": app.files_older_than(KEPT_SECONDS + 2 * SWEPT_EVERY),
    }


if __name__ == "__main__":
    main()
