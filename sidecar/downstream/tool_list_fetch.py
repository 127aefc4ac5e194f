"""Fetches the list of tools before a call whose `Mcp-Param-*` headers no list seen here can check.

A client may know a list that came another way: from another replica, or before we started. What its headers say could
not be compared with anything, and it must not be believed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from sidecar.downstream.mirrored_arguments import Marked
from sidecar.http.client import ClientResponse
from sidecar.http.hop_by_hop import Fields
from sidecar.http.values import EVENTS, JSON
from sidecar.mcp import mirrored_headers, protocol
from sidecar.mcp.jsonrpc import Request
from sidecar.system import tasks
from sidecar.upstream import listing
from sidecar.upstream.remote import Remote

SECONDS: Final = 5.0
"""How long a call waits for the list."""
AGAIN: Final = 1.0
"""Seconds before one caller makes us ask again: he could name tools that are in no list for ever."""
MAX_CALLERS: Final = 1_000


class Learning:
    """Asks the server at `remote`; what it lists is noted in `marked`."""

    def __init__(self, remote: Remote, marked: Marked) -> None:
        self._remote = remote
        self._marked = marked
        self._asked: dict[str, float] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def learn(self, caller: str, fields: Fields, revision: str) -> None:
        """Have the list asked for, as this caller would with these headers, unless that was done just now."""
        task = self._under_way.get(caller)
        if task is None:
            now = asyncio.get_running_loop().time()
            if now - self._asked.get(caller, -AGAIN) < AGAIN:
                return
            if len(self._asked) >= MAX_CALLERS:
                self._asked.clear()
            self._asked[caller] = now
            task = self._under_way[caller] = tasks.start(self._list(caller, fields, revision))
            task.add_done_callback(lambda _: self._under_way.pop(caller))
        # Not awaited itself: a client that goes away must not end what others wait for.
        await asyncio.wait({task})

    async def _list(self, caller: str, fields: Fields, revision: str) -> None:
        kept = [(name, value) for name, value in fields if name != "accept" and not name.startswith("mcp-")]

        async def ask(page: Request) -> ClientResponse:
            own = [("content-type", JSON), ("accept", f"{JSON}, {EVENTS}"), *mirrored_headers.headers_of(page).items()]
            return await self._remote.send("POST", [*own, *kept], page.raw, whose=("list", caller))

        with contextlib.suppress(ConnectionError, ValueError, TimeoutError):
            async with asyncio.timeout(SECONDS):
                async for reply in listing.pages(ask, protocol.own_meta(revision), self._remote.limit):
                    self._marked.learn(reply)
