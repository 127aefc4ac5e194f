"""Spans that wait for the collector, and the task that sends them: in batches, bounded, and never in a call's way.

What is not taken is sent again for a while, and then lost; so is what finds no room. Each is counted and told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from typing import Final, Protocol

from sidecar.events import Emit, SpansSent
from sidecar.observe.traces import otlp
from sidecar.observe.traces.collector import Taken
from sidecar.observe.traces.span import Span
from sidecar.system import tasks

BATCH: Final = 512
"""Spans in one request."""
PAUSE: Final = 1.0
"""Seconds for which spans are gathered, unless a batch is full before."""
MAX_WAITING: Final = 8_192
"""Spans that wait to be sent, of about a kilobyte each."""
AGAIN: Final = (1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts to send one batch."""
FLUSH: Final = 1.0
"""Seconds that the end waits for what is still to be sent."""
PORTION: Final = 32
"""Spans that are encoded in one go: a millisecond at most, then calls have their turn."""

NO_ROOM: Final = "calls come faster than it takes their spans"
AT_THE_END: Final = "it had not taken them when the sidecar ended"


class Takes(Protocol):
    """A collector."""

    async def send(self, body: bytes) -> Taken:
        """Send a request; what became of it, within a bounded time."""

    async def close(self) -> None:
        """Drop the connection."""


class Sending:
    """Sends the spans of calls to `server`; `resource` are the attributes of this sidecar, `emit` hears what became.

    `pauses` are the seconds between attempts.
    """

    def __init__(
        self, collector: Takes, server: str, resource: Mapping[str, str], emit: Emit,
        *, pause: float = PAUSE, pauses: tuple[float, ...] = AGAIN,
    ) -> None:  # fmt: skip
        self._collector = collector
        self._server = server
        self._head, self._tail = otlp.envelope(resource)
        self._emit = emit
        self._pause = pause
        self._pauses = pauses
        self._waiting: deque[Span] = deque()
        self._under_way = 0
        self._unheld = 0
        """Spans for which there was no room since that was told."""
        self._news, self._full, self._ends = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._task = tasks.lasting(self._work)

    def put(self, span: Span) -> None:
        """Have a span sent, if there is room for it."""
        waiting = self._waiting
        if len(waiting) >= MAX_WAITING:
            self._unheld += 1
            return
        waiting.append(span)
        if len(waiting) == 1:
            self._news.set()
        elif len(waiting) == BATCH:
            self._full.set()

    async def stop(self) -> None:
        """Send what waits, once, for `FLUSH` at most; the rest is lost."""
        self._ends.set()
        self._news.set()
        self._full.set()
        await asyncio.wait([self._task], timeout=FLUSH)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        self._lost(len(self._waiting) + self._under_way, AT_THE_END)
        self._waiting.clear()
        await self._collector.close()

    async def _work(self) -> None:
        while self._waiting or not self._ends.is_set():
            await self._gathered()
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if batch:
                self._under_way = len(batch)
                try:
                    await self._send(batch)
                except Exception:
                    self._lost(len(batch), "a span cannot be sent")
                    self._under_way = 0
                    raise
                self._under_way = 0
            if self._unheld:
                unheld, self._unheld = self._unheld, 0
                self._lost(unheld, NO_ROOM)

    async def _gathered(self) -> None:
        """Wait until there is a batch, or something waited for a while."""
        if not self._waiting:
            self._news.clear()
            if not self._ends.is_set():
                await self._news.wait()
        if len(self._waiting) < BATCH and not self._ends.is_set():
            self._full.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._full.wait()

    async def _send(self, batch: list[Span]) -> None:
        body = await self._encoded(batch)
        for pause in (*self._pauses, None):
            taken = await self._collector.send(body)
            if not taken.again or pause is None or self._ends.is_set():
                break
            self._emit(SpansSent(self._server, 0, 0, taken.why))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(pause, taken.after)):
                    await self._ends.wait()
        lost = len(batch) if taken.rejected is None else min(taken.rejected, len(batch))
        self._emit(SpansSent(self._server, len(batch) - lost, lost, taken.why))

    async def _encoded(self, batch: list[Span]) -> bytes:
        spans: list[bytes] = []
        for place in range(0, len(batch), PORTION):
            spans += [otlp.encoded(span, self._server) for span in batch[place : place + PORTION]]
            await asyncio.sleep(0)
        return b"%b%b%b" % (self._head, b",".join(spans), self._tail)

    def _lost(self, spans: int, why: str) -> None:
        if spans:
            self._emit(SpansSent(self._server, 0, spans, why))
