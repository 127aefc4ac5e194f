"""One connection to OPA's unix socket, with one request in flight at most."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import TypeAlias, cast

from sidecar.engine.wire import BadReply, ReplyReader
from sidecar.errors import EngineUnavailable
from sidecar.system import ownership

EngineReply: TypeAlias = bytes | EngineUnavailable
"""The body of OPA's reply, or why there is none."""


class Exchange:
    """A request and its reply. `done` gets the reply, once; anything that comes later is dropped."""

    __slots__ = ("_done", "connection", "is_open")

    def __init__(self, done: Callable[[EngineReply], None]) -> None:
        self.connection: Connection | None = None
        self.is_open = True
        self._done = done

    def end(self, reply: EngineReply) -> None:
        """Hand over the reply, unless there was one or nobody waits any more."""
        if self.is_open:
            self.is_open = False
            self._done(reply)

    def drop(self) -> None:
        """Drop the connection that the request went over, so that its answer is never taken for another."""
        if self.connection is not None:
            self.connection.drop()


class Connection(asyncio.Protocol):
    """One connection. A request that is given up drops it, so that a late answer is never taken for the next one.

    It `is_ours` if OPA runs as our user or as root. Once it `is_ready`, each answer frees it for another request.
    """

    def __init__(self, free: Callable[[Connection], None], gone: Callable[[Connection], None]) -> None:
        self._free = free
        self._gone = gone
        self._reader = ReplyReader()
        self._exchange: Exchange | None = None
        self._transport: asyncio.Transport | None = None
        self._unread = select.poll()
        self.fd = -1
        self.dropped = self.ended = False
        self.is_ours = self.is_ready = False

    def is_silent(self) -> bool:
        """False if there is something to read although nothing was asked: an answer too many, or the end.

        Such a connection is not used: the event loop will read what it is.
        """
        return not self._unread.poll(0)

    def ask(self, exchange: Exchange, data: bytes) -> None:
        """Send a request; the exchange ends with its reply."""
        if self._transport is None or self._transport.is_closing():
            exchange.end(unreachable())
            return
        self._exchange, exchange.connection = exchange, self
        self._transport.write(data)

    def drop(self) -> None:
        """End it from our side."""
        self.dropped = True
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses
        opened = transport.get_extra_info("socket")
        self.fd, self.is_ours = opened.fileno(), ownership.is_ours(opened)
        self._unread.register(self.fd, select.POLLIN)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None or not exchange.is_open:
            self.drop()  # OPA does not speak unasked, and nobody waits for a late answer
            return
        try:
            body = self._reader.feed(data)
        except BadReply as error:
            self.drop()
            exchange.end(EngineUnavailable("reply", f"the policy engine's answer cannot be used: {error}"))
            return
        if body is not None:
            self._exchange = None
            if self.is_ready:
                self._free(self)
            exchange.end(body)

    def eof_received(self) -> None:
        self._end()  # connection_lost comes some passes of the event loop later, and calls are judged in between

    def connection_lost(self, error: Exception | None) -> None:
        self._end()
        if self._exchange is not None:
            self._exchange.end(unreachable())

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self._gone(self)


def unreachable() -> EngineUnavailable:
    """There is no OPA, or it went away."""
    return EngineUnavailable("connection", "the policy engine cannot be reached")
