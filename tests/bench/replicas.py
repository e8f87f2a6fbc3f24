"""Two copies of the app behind one address: each visitor stays at the one that holds their photo.

    python -m tests.bench.replicas

A visit lives in the memory of one process, so a reverse proxy has to be sticky. This one, small as
it is, is so by a cookie, as load balancers are.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import tempfile
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from fader_demo import Editor
from tests.bench.crowd import Drag, crowd, portraits, summary, wrong
from tests.bench.plain import MOVED
from tests.bench.protocol import Visitor
from tests.bench.served import MODEL, served
from tests.bench.table import Row, show

VISITORS, SECONDS = 8, 10


def measure() -> Iterator[Row]:
    editor = Editor.from_pretrained(MODEL)
    with tempfile.TemporaryDirectory() as folder, served() as one, served() as other:
        photos = portraits(Path(folder), VISITORS)
        addresses = [one.address, other.address]
        drags = asyncio.run(_through_proxy(addresses, photos))
        row = summary(f"two replicas, crowd of {VISITORS}", drags, SECONDS, one)
        yield row | {"wrong pictures": wrong(editor, photos, drags)}
        strangers = asyncio.run(_answered_elsewhere(addresses, photos[0]))
        yield {"figure": "a visit of one replica, asked for at the other", "answer": strangers}


async def _through_proxy(addresses: Sequence[str], photos: Sequence[Path]) -> list[Drag]:
    async with sticky_proxy(addresses) as address:
        return await crowd(address, photos, SECONDS)


async def _answered_elsewhere(addresses: Sequence[str], photo: Path) -> str:
    """What a replica says to the sliders of another's visit."""
    async with Visitor(addresses[0]) as at_home, Visitor(addresses[1]) as elsewhere:
        await at_home.open(photo)
        elsewhere.face = at_home.face
        return str((await elsewhere.draw({MOVED: 1.0})).get("problem", "a picture"))


@asynccontextmanager
async def sticky_proxy(addresses: Sequence[str]) -> AsyncIterator[str]:
    """A reverse proxy before these replicas, on a free port; gives its own address.

    Newcomers are given to the replicas in turn and keep a cookie that says which.
    """
    turns = itertools.cycle(range(len(addresses)))
    connections: set[asyncio.Task[None] | None] = set()

    async def connect(client: StreamReader, to_client: StreamWriter) -> None:
        connections.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing(to_client):
            head = await client.readuntil(b"\r\n\r\n")
            known = re.search(rb"\breplica=(\d+)", head)
            number = int(known[1]) % len(addresses) if known else next(turns)
            place = urlsplit(addresses[number])
            replica, to_replica = await asyncio.open_connection(place.hostname, place.port)
            with closing(to_replica):
                to_replica.write(head)
                asking = asyncio.create_task(_pass_on(client, to_replica))
                to_client.write(await replica.readline())
                if not known:
                    to_client.write(b"Set-Cookie: replica=%d\r\n" % number)
                await _pass_on(replica, to_client)
                asking.cancel()

    server = await asyncio.start_server(connect, "127.0.0.1")
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
    await asyncio.gather(*filter(None, connections))


async def _pass_on(source: StreamReader, sink: StreamWriter) -> None:
    """Until either end of a connection is closed; then the other is too."""
    with suppress(ConnectionError), closing(sink):
        while part := await source.read(2**16):
            sink.write(part)
            await sink.drain()


if __name__ == "__main__":
    show(measure())
