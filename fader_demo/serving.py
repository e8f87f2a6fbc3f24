"""One decoder for many visitors: the newest edit of each, in turns, several in one pass."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from PIL import Image

from fader_demo.editor import Edit, Editor

WORKERS = 2
"""Threads that draw. Each picture takes one core for most of its time."""

BATCH = 4
"""Edits that are decoded in one pass at most; a CPU gains little by it, and loses with eight."""

MOST_ACTIVE = 64
"""Visitors who may be active at a time; newcomers beyond them are asked to wait."""

ACTIVE_SECONDS = 30.0
"""How long a visitor is active after a move."""

R = TypeVar("R")


class Busy(Exception):
    """There are too many visitors for another one. The message tells them when to try again."""

    def __init__(self, retry_seconds: int) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(
            f"Too many people are editing at this moment. Try again in {retry_seconds} seconds."
        )


@dataclass(frozen=True, eq=False)
class Job(Generic[R]):
    """An edit to be drawn by ``editor``, its long side at most ``max_side``, and then finished.

    finish: makes of the picture what is wanted, a file for example, in the thread that drew it.
    """

    editor: Editor
    edit: Edit
    max_side: int
    finish: Callable[[Image.Image], R]


@dataclass(frozen=True, eq=False)
class _Ticket(Generic[R]):
    """A job in line, and what was promised to whoever brought it."""

    job: Job[R]
    future: Future[R | None] = field(default_factory=Future)

    @property
    def batched_with(self) -> tuple[Editor, int]:
        """Jobs of which this is the same can be decoded in one pass."""
        return self.job.editor, self.job.max_side


class Scheduler:
    """Draws for any number of visitors and from any number of threads.

    A visitor has one place in line: their newest job takes the place of the one that waits there,
    so that nobody waits longer for another's hurry. Whoever is drawn goes to the end of the line.

    clock: seconds, for who is active.
    """

    def __init__(
        self,
        most_active: int = MOST_ACTIVE,
        batch: int = BATCH,
        workers: int = WORKERS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_active = most_active
        self._batch = batch
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[str, _Ticket] = {}  # in line: a value that is replaced keeps its place
        self._seen: dict[str, float] = {}  # when each visitor moved last, the longest ago first
        self._workers = ThreadPoolExecutor(workers, "draw")

    def submit(self, visitor: str, job: Job[R]) -> Future[R | None]:
        """What ``job.finish`` gives, or None once a newer job of this visitor took its place.

        Raises Busy if the visitor is a newcomer and there are too many.
        """
        self.admit(visitor)
        ticket = _Ticket(job)
        with self._lock:
            replaced = self._waiting.get(visitor)
            self._waiting[visitor] = ticket
        if replaced is None:
            self._workers.submit(self._draw_next)
        elif replaced.future.set_running_or_notify_cancel():
            replaced.future.set_result(None)
        return ticket.future

    def admit(self, visitor: str) -> None:
        """Count a visitor as active from now on. Raises Busy as ``submit`` does."""
        now = self._clock()
        with self._lock:
            for other, seen in list(self._seen.items()):
                if now - seen < ACTIVE_SECONDS:
                    break
                del self._seen[other]
            if visitor not in self._seen and len(self._seen) >= self._most_active:
                oldest = next(iter(self._seen.values()))
                raise Busy(max(1, math.ceil(oldest + ACTIVE_SECONDS - now)))
            self._seen.pop(visitor, None)
            self._seen[visitor] = now

    def close(self) -> None:
        """Let jobs that are being drawn end, cancel those that wait, and take no more."""
        self._workers.shutdown(cancel_futures=True)
        with self._lock:
            left, self._waiting = self._waiting, {}
        for ticket in left.values():
            ticket.future.cancel()

    def _draw_next(self) -> None:
        """Draws whoever is first in line, and others who can be decoded together with them.

        There is a call of this for each place in line, some of which find theirs taken already.
        """
        with self._lock:
            tickets = self._next_in_line()
        _draw([ticket for ticket in tickets if ticket.future.set_running_or_notify_cancel()])

    def _next_in_line(self) -> list[_Ticket]:
        first = next(iter(self._waiting.values()), None)
        if first is None:
            return []
        together = [
            visitor
            for visitor, ticket in self._waiting.items()
            if ticket.batched_with == first.batched_with
        ]
        return [self._waiting.pop(visitor) for visitor in together[: self._batch]]


def _draw(tickets: list[_Ticket]) -> None:
    """Draws tickets that can be decoded together, and keeps what is promised for each.

    When something fails, those that are left are drawn one by one: only the one at fault fails.
    """
    if not tickets:
        return
    left = list(tickets)
    try:
        editor, max_side = tickets[0].batched_with
        for picture in editor.paste_all([ticket.job.edit for ticket in tickets], max_side):
            result = left[0].job.finish(picture)
            left.pop(0).future.set_result(result)
    except Exception as error:
        if len(left) == 1:
            left[0].future.set_exception(error)
            return
        for ticket in left:
            _draw([ticket])
