"""What becomes of a request that was sent: its response as it comes, or why there is none.

No sockets and no parser: a connection feeds a response, and whoever asked reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from sidecar.http.body import Body
from sidecar.http.values import Headers
from sidecar.system.lines import TooLong
from sidecar.system.memory import MemoryBudget, Share

MAX_WAITING: Final = 256 << 10
"""Bytes of a body that wait for whoever reads it; while there are more, nothing is read from the server."""
COUNTED: Final = 16 << 10
"""Bytes of a body from which on they are counted while they wait: nearly every answer is taken as it comes."""


class Unreachable(ConnectionError):
    """No connection could be made, or nothing of the request was written: it certainly did not run.

    `kind` says in a word what failed: `dns`, `refused`, `tls`, `timeout`, `network` or `busy`.
    """

    def __init__(self, text: str, kind: str = "network") -> None:
        super().__init__(text)
        self.kind = kind


class Lost(ConnectionError):
    """The request was written, wholly or in part, and no usable answer came: it may have run.

    `kind` is `lost`, `timeout`, or `unreadable` for an answer that came and is none.
    """

    def __init__(self, text: str, kind: str = "lost") -> None:
        super().__init__(text)
        self.kind = kind


class Carrier(Protocol):
    """What has a request under way: the task that makes a connection for it, or the connection."""

    def cancel(self) -> object:
        """Nobody waits for the response any more."""


class PendingRequest:
    """A request under way. Once, `answered` is called with its response or `failed` with why there is none.

    Neither is called after `give_up`. That the request certainly did not run is an `Unreachable`, that it may have run
    a `Lost`.
    """

    __slots__ = ("_carrier", "answered", "failed")

    def __init__(
        self, answered: Callable[[ClientResponse], object], failed: Callable[[Unreachable | Lost], object]
    ) -> None:
        self.answered = answered
        self.failed = failed
        self._carrier: Carrier | None = None

    def carried_by(self, carrier: Carrier | None) -> None:
        """Who has it now; None when nobody waits for its response any more."""
        self._carrier = carrier

    def give_up(self) -> None:
        """Wait no longer: the server sees that the connection ends."""
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.cancel()


class Source(Protocol):
    """What a response needs of the connection that it comes on."""

    room: MemoryBudget

    def taken(self) -> None:
        """What waited was taken."""

    def drop(self, why: str) -> None:
        """End the connection, and with it what it carries."""

    def retire(self) -> None:
        """Carry nothing beyond what it carries now."""


class ClientResponse:
    """A response whose head has come. A Content-Length that framed its body is not among its headers.

    Its body is to be read (`whole`, `read` or `chunks`), or `abort` to be called.
    """

    __slots__ = ("_complete", "_error", "_pieces", "_share", "_source", "_waiter", "_waiting", "headers", "status")

    def __init__(self, status: int, headers: Headers, source: Source) -> None:
        self.status = status
        self.headers = headers
        self._source = source
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._share: Share | None = None
        """What waits, as far as it is counted."""
        self._complete = False
        self._error: str | None = None
        self._waiter: asyncio.Future[None] | None = None

    def whole(self, limit: int) -> bytes | TooLong | None:
        """The body where all of it has come already, once; of one longer than `limit` only its ends."""
        return self._collected(limit) if self._complete else None

    async def read(self, limit: int) -> bytes | TooLong:
        """The whole body; of one longer than `limit` only its ends. Raises Lost, also where there is no room for it."""
        body, room = Body(limit), self._source.room
        share = Share(room)
        try:
            while True:
                for piece in self._take():
                    body.add(piece)
                share.hold(body.held)
                if not room.make(body.held, 0):
                    self.abort()
                    raise Lost("so much is held here that there is no room for the answer")
                if self._complete:
                    return body.whole()
                await self._more()
        finally:
            share.hold(0)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece, as it comes. Raises Lost when it breaks off."""
        try:
            while True:
                # Taken before it is asked whether that is all: more may come while the consumer is at work.
                pieces, complete = self._take(), self._complete
                for piece in pieces:
                    yield piece
                if complete:
                    return
                if not pieces:
                    await self._more()
        finally:
            self.abort()

    def abort(self) -> None:
        """Not interested any more: unless the body was complete, the connection is dropped."""
        if not self._complete:
            self._source.drop("the answer was given up")
        self._pieces.clear()
        self._count(0)

    def retire(self) -> None:
        """It was no answer to what was asked: what comes next on its connection may be none either."""
        self._source.retire()

    # What the connection tells.

    def came(self, pieces: list[bytes]) -> bool:
        """More of the body; False when too much waits already."""
        self._pieces += pieces
        self._waiting += sum(map(len, pieces))
        if self._waiting > COUNTED:
            self._count(self._waiting)
        self._wake()
        return self._waiting <= MAX_WAITING

    def completed(self) -> None:
        """That was all."""
        self._complete = True
        self._wake()

    def broke_off(self, why: str) -> None:
        """Nothing more will come, and that was not all."""
        self._error = why
        self._wake()

    def _collected(self, limit: int) -> bytes | TooLong:
        pieces = self._take()
        if len(pieces) == 1 and len(pieces[0]) <= limit:
            return pieces[0]  # as most come
        body = Body(limit)
        for piece in pieces:
            body.add(piece)
        return body.whole()

    def _take(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        self._waiting = 0
        self._count(0)
        if not self._complete:
            self._source.taken()
        return pieces

    def _count(self, size: int) -> None:
        if self._share is not None:
            self._share.hold(size)
        elif size:
            self._share = Share(self._source.room, size)

    async def _more(self) -> None:
        if self._error is not None:
            raise Lost(self._error)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
