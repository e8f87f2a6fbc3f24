"""What the benchmarks compute, their visitors, and the proxy before replicas."""

from __future__ import annotations

import asyncio
import math
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fader_demo import Editor
from fader_demo.models import Models
from fader_demo.ui.page import Page
from tests.bench.crowd import Drag, crowd, portraits, wrong
from tests.bench.page import Drag as PageDrag
from tests.bench.protocol import Refused, Visitor
from tests.bench.replicas import sticky_proxy
from tests.bench.table import line, percentile


def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, p) for p in (0, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([7.0], 99) == 7
    assert math.isnan(percentile([], 50))


def test_a_row_shows_numbers_before_their_units_and_words_after() -> None:
    row = {"figure": "a move", "ms": 1.234, "unmeasured": "no GPU"}
    assert line(row).split() == ["a", "move", "1.23", "ms", "unmeasured:", "no", "GPU"]


def test_the_screen_is_behind_the_hand_since_the_first_move_that_it_does_not_show() -> None:
    pictures = [
        {"at": 30.0, "asked": 10.0},
        {"at": 70.0, "asked": 30.0},
        {"at": 95.0, "asked": 90.0},
    ]
    drag = PageDrag(moves=[0.0, 20.0, 40.0, 60.0], pictures=pictures)
    assert drag.lags == [30, 50, 55]


def test_behind_the_proxy_everybody_stays_where_they_came_first() -> None:
    async def named(name: str) -> asyncio.Server:
        async def answer(reader: StreamReader, writer: StreamWriter) -> None:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + name.encode())

        return await asyncio.start_server(answer, "127.0.0.1")

    async def seen_by(address: str) -> str:
        cookies, names = httpx.Cookies(), ""
        for _ in range(3):  # each on a new connection
            async with httpx.AsyncClient(cookies=cookies) as client:
                names += (await client.get(address)).text
                cookies = client.cookies
        return names

    async def everybody() -> list[str]:
        replicas = [await named(name) for name in "AB"]
        ports = [replica.sockets[0].getsockname()[1] for replica in replicas]
        async with sticky_proxy([f"http://127.0.0.1:{port}" for port in ports]) as address:
            return [await seen_by(address) for _ in range(4)]

    assert asyncio.run(everybody()) == ["AAA", "BBB", "AAA", "BBB"]


@pytest.fixture
def replicas(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """Addresses of two apps that share nothing but this process."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    pages = [Page(Models({"tiny": tiny_model_folder})) for _ in range(2)]
    served = [page.build() for page in pages]
    for blocks in served:
        blocks.launch(prevent_thread_lock=True, quiet=True, run_history=False)
    yield [str(blocks.local_url) for blocks in served]
    for page, blocks in zip(pages, served, strict=True):
        blocks.close(verbose=False)
        page.close()


def test_visitors_of_two_replicas_each_see_their_own_photo(
    replicas: list[str], tiny_model_folder: Path, tmp_path: Path
) -> None:
    photos = portraits(tmp_path, 4)

    async def drags() -> list[Drag]:
        async with sticky_proxy(replicas) as address:
            return await crowd(address, photos, seconds=0.5)

    done = asyncio.run(drags())
    assert [drag.problems for drag in done] == [[]] * 4
    assert all(drag.latencies for drag in done)
    editor = Editor.from_pretrained(tiny_model_folder)
    assert wrong(editor, photos, done) == 0
    assert wrong(editor, photos[1:], done) == 3  # and the comparison can tell


def test_a_visitor_is_told_why_a_file_is_not_opened(replicas: list[str], tmp_path: Path) -> None:
    letter = tmp_path / "letter.jpg"
    letter.write_text("Dear all,")

    async def opened() -> None:
        async with Visitor(replicas[0]) as visitor:
            await visitor.open(letter)

    with pytest.raises(Refused, match="not an image"):
        asyncio.run(opened())
