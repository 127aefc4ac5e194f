"""An answer that may have to begin before it is known what it is: that of a call which is held for a person."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from sidecar.downstream.heartbeat import BEAT, PING
from sidecar.http.server import Exchange
from sidecar.http.sse import Event, event_bytes
from sidecar.http.values import EVENTS, Response
from sidecar.mcp.jsonrpc import Outgoing


class EarlyStream:
    """Does what an exchange does. Once anything was told, or nothing was for long, it is a stream of events.

    From then on its status is 200 whatever comes, and a whole answer is an event on it: only messages can be sent.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.has_begun = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(BEAT, self._beat)

    def tell(self, message: Outgoing) -> None:
        """Say something before the answer."""
        if not self.gone:
            self._begin()
            self._exchange.write_now(_event(message.raw))

    @property
    def gone(self) -> bool:
        """True when nobody is there any more."""
        return self._exchange.gone

    def send(self, response: Response) -> None:
        """The whole answer: see `Exchange.send`."""
        self._stop()
        if not self.has_begun:
            self._exchange.send(response)
        elif not self.gone:
            self._exchange.write_now(_event(response.body))
            self._exchange.end()

    def start(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Begin a streamed answer of events: see `Exchange.start`."""
        self._stop()
        if not self.has_begun:
            self._exchange.start(status, headers)

    async def write(self, data: bytes) -> None:
        """See `Exchange.write`."""
        await self._exchange.write(data)

    def write_now(self, data: bytes) -> None:
        """See `Exchange.write_now`."""
        self._exchange.write_now(data)

    def end(self) -> None:
        """See `Exchange.end`."""
        self._stop()
        self._exchange.end()

    def abort(self) -> None:
        """See `Exchange.abort`."""
        self._stop()
        self._exchange.abort()

    def on_gone(self, callback: Callable[[], object]) -> None:
        """See `Exchange.on_gone`."""
        self._exchange.on_gone(callback)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """See `Exchange.run`."""
        return self._exchange.run(work)

    def let_go(self) -> None:
        """See `Exchange.let_go`."""
        self._exchange.let_go()

    def keep(self) -> None:
        """See `Exchange.keep`."""
        self._exchange.keep()

    def failed(self, error: Exception) -> None:
        """See `Exchange.failed`."""
        self._stop()
        self._exchange.failed(error)

    def _begin(self) -> None:
        if not self.has_begun:
            self.has_begun = True
            self._exchange.start(200, [("content-type", EVENTS), ("cache-control", "no-cache")])

    def _beat(self) -> None:
        self._timer = None
        if self._exchange.is_over:
            return
        self._begin()
        self._exchange.write_now(PING)
        self._timer = self._loop.call_later(BEAT, self._beat)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _event(raw: bytes) -> bytes:
    return event_bytes(Event(raw.decode()))
