"""Questions to OPA over its unix socket: pooled connections, one question in flight on each, a bound on every wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from sidecar.engine.exchange import BadReply, ReplyReader, request
from sidecar.errors import EngineUnavailable

CONNECTIONS: Final = 64
"""Questions in flight at once; more wait for a free connection, within the same bound of time."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first question on a connection; `check` raises `EngineUnavailable` when the answer is no good."""

    question: bytes
    check: Callable[[bytes], None]


class Asker:
    """Asks the OPA at a socket. `lost` is called when OPA ends a connection: it may have died.

    With a `greeting` nothing else is asked on a connection that did not answer it well.
    """

    def __init__(
        self, socket: str, timeout: float, lost: Callable[[], None], greeting: Greeting | None = None
    ) -> None:  # fmt: skip
        self._socket = socket
        self._timeout = timeout
        self._lost = lost
        self._greeting = greeting
        self._idle: deque[_Connection] = deque()
        self._every: set[_Connection] = set()
        self._room = asyncio.Semaphore(CONNECTIONS)

    async def ask(self, body: bytes, decision_id: str) -> bytes:
        """The body of OPA's reply. Raises `EngineUnavailable` when there is none within the time-out."""
        try:
            async with asyncio.timeout(self._timeout), self._room:
                connection = self._idle.pop() if self._idle else await self._connect()
                reply = await connection.ask(request(body, decision_id))
        except TimeoutError:
            milliseconds = round(self._timeout * 1000)
            raise EngineUnavailable("timeout", f"the policy engine did not answer in {milliseconds} ms") from None
        except OSError:
            raise EngineUnavailable("connection", "the policy engine cannot be reached") from None
        except BadReply as error:
            raise EngineUnavailable("reply", f"the policy engine's answer cannot be used: {error}") from None
        self._idle.append(connection)
        return reply

    def close(self) -> None:
        """Drop every connection; what is in flight gets no answer."""
        for connection in list(self._every):
            connection.drop()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(lambda: _Connection(self._gone), self._socket)
        self._every.add(connection)
        if self._greeting is not None:
            try:
                self._greeting.check(await connection.ask(request(self._greeting.question, "greeting")))
            except EngineUnavailable:
                connection.drop()
                raise
        return connection

    def _gone(self, connection: _Connection) -> None:
        self._every.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not connection.dropped:
            self._lost()


class _Connection(asyncio.Protocol):
    """One connection. A question that is given up drops it, so that a late answer can never be taken for the next."""

    def __init__(self, gone: Callable[[_Connection], None]) -> None:
        self._gone = gone
        self._reader = ReplyReader()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self.dropped = False

    async def ask(self, data: bytes) -> bytes:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        try:
            return await self._answer
        except BaseException:
            self.drop()
            raise
        finally:
            self._answer = None

    def drop(self) -> None:
        self.dropped = True
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.drop()  # OPA does not speak unasked
            return
        try:
            body = self._reader.feed(data)
        except BadReply as error:
            self._answer.set_exception(error)
            return
        if body is not None:
            self._answer.set_result(body)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError())
        self._gone(self)
