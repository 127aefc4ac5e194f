"""The stream of events that a page listens to: that something changed, or that one is signed out."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from sidecar.approvals.approvers import Approver
from sidecar.approvals.guard import SECURITY
from sidecar.approvals.queue import Person, Queue
from sidecar.approvals.sessions import Session, Sessions
from sidecar.errors import StoreUnavailable
from sidecar.http.exchange import Exchange, text
from sidecar.http.sse import Event, event_bytes
from sidecar.http.values import EVENTS

MAX_EACH: Final = 20
"""Streams of one approver at once. A page that nobody looks at has none."""
CHECK: Final = 2.0
"""Seconds within which a page learns that its session is over."""
SILENCE: Final = 10
"""Checks without a change after which a comment keeps the connection."""


class _News:
    """What one approver may see, as a mark, and the store's own mark when that was looked up."""

    def __init__(self) -> None:
        self.looking = asyncio.Lock()
        self.mark = ""
        self.seen = ""


class Streams:
    """All streams of events that are open."""

    def __init__(self, queue: Queue, sessions: Sessions) -> None:
        self._queue = queue
        self._sessions = sessions
        self._open: Counter[str] = Counter()
        self._news: dict[Approver, _News] = {}

    async def serve(self, exchange: Exchange, session: Session, person: Person) -> None:
        """Tell a page of changes until it goes away or its session is over."""
        name = person.approver.name
        if self._open[name] >= MAX_EACH:
            exchange.send(text(429, "too many pages of this approver are open"))
            return
        task = asyncio.current_task()
        assert task is not None
        exchange.on_gone(task.cancel)
        self._open[name] += 1
        try:
            exchange.start(200, (("content-type", EVENTS), ("x-accel-buffering", "no"), *SECURITY))
            await self._tell(exchange, session, person)
            exchange.end()
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]
                for approver in [one for one in self._news if one.name == name]:
                    del self._news[approver]

    async def _tell(self, exchange: Exchange, session: Session, person: Person) -> None:
        mark, seen, silent = "", "", 0
        while self._sessions.stands(session):
            # The first mark is news too: the page may have been made before it.
            last, mark = mark, await self._queue.changed(mark, CHECK)
            before, seen = seen, await self._seen(mark, person) if mark != last else seen
            if seen != before:
                silent = 0
                await exchange.write(event_bytes(Event("", "changed", retry=2_000)))
            elif (silent := silent + 1) % SILENCE == 0:
                await exchange.write(event_bytes(Event(None, comment=True)))
        await exchange.write(event_bytes(Event("", "signed-out")))

    async def _seen(self, mark: str, person: Person) -> str:
        """A mark of what the person may see: what is for others is no news, nor is when it happens."""
        if person.approver.answers_all:
            return mark
        news = self._news.setdefault(person.approver, _News())
        async with news.looking:  # for all pages of one approver together: it reads whatever waits
            if news.mark != mark:
                try:
                    news.seen = await self._queue.news(person)
                except StoreUnavailable:
                    news.seen = "gone"
                news.mark = mark
            return news.seen
