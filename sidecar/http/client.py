"""An HTTP/1.1 client for one origin: a pool of connections, and the truth about what may have run.

Nothing is ever sent twice: a request on a connection that broke is `Lost`, not tried again. A connection carries
requests of one client only (`whose`), it is looked at before it is used again, and whoever finds that a response was
none to his request has it `retire`. What a connection is at, and why, stands in `client_connection`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any, Final

from sidecar.http.client_connection import ClientConnection, RequestStart
from sidecar.http.client_response import ClientResponse, Lost, PendingRequest, Unreachable
from sidecar.http.origin import Origin
from sidecar.http.values import Lines, field_lines
from sidecar.system import tasks
from sidecar.system.memory import DEFAULT_BUDGET, MemoryBudget
from sidecar.text import visible

__all__ = ["OURS", "ClientResponse", "HttpClient", "Lost", "PendingRequest", "RequestStart", "Unreachable"]

SPARE: Final = 512
"""Connections from which on one that is idle makes room for a new one."""


class HttpClient:
    """Sends requests to one origin. Nothing is ever sent twice."""

    def __init__(
        self,
        origin: Origin,
        *,
        connect_seconds: float = 5.0,
        idle_seconds: float = 2.0,
        connections: int = 4096,
        ssl_context: ssl.SSLContext | None = None,
        room: MemoryBudget | None = None,
    ) -> None:
        self.room = room or MemoryBudget(DEFAULT_BUDGET)
        self.idle_seconds = idle_seconds
        self._origin = origin
        self._connect_seconds = connect_seconds
        self._connections = connections
        self._ssl_context = ssl_context
        self._fixed = f"host: {origin.host_header}\r\naccept-encoding: identity\r\n".encode("latin-1")
        self._idle: dict[Hashable, list[ClientConnection]] = {}
        """Connections that wait, by whose they are. Whoever used his last the longest ago stands first."""
        self._every: set[ClientConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._in_the_making = 0
        self.closed = False

    async def send(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes = b"",
        *,
        head_seconds: float | None = None,
        whose: Hashable = None,
    ) -> ClientResponse:
        """Send a request and wait for the head of its response, for `head_seconds` at most.

        Raises Unreachable, Lost, and ValueError for what cannot be sent; Host, Content-Length, Accept-Encoding and
        what concerns the connection are added here and are not the caller's to send.
        """
        head = self.head(method, target, field_lines(headers, OURS))
        connection = self._kept(whose) or await self._connect(whose)
        waiter: asyncio.Future[ClientResponse] = asyncio.get_running_loop().create_future()
        pending = PendingRequest(_once(waiter.set_result, waiter), _once(waiter.set_exception, waiter))
        connection.begin(head, body, pending, head_seconds)
        try:
            return await waiter
        except asyncio.CancelledError:
            pending.give_up()
            if not waiter.cancelled() and waiter.exception() is None:
                # The response came in the same moment; it may be complete, and the connection another's already.
                waiter.result().abort()
            raise

    def head(self, method: str, target: str, lines: Lines) -> RequestStart:
        """What the requests to a target begin with. Raises ValueError for what cannot be sent."""
        line = f"{method} {target} HTTP/1.1\r\n"
        if not _REQUEST_LINE.fullmatch(line):
            raise ValueError("the method or the target has characters that cannot be sent")
        return RequestStart(method, b"%b%b%b" % (line.encode("latin-1"), self._fixed, lines))

    def ask(self, head: RequestStart, body: bytes, pending: PendingRequest, whose: Hashable) -> None:
        """Send a request without waiting: `pending` hears what becomes of it, perhaps before this returns."""
        connection = self._kept(whose)
        if connection is not None:
            connection.begin(head, body, pending, None)
            return
        task = tasks.start(self._connect_and_ask(head, body, pending, whose))
        pending.carried_by(task)
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def close(self) -> None:
        """Drop every connection; what is in flight is lost."""
        self.closed = True
        for connection in list(self._every):
            connection.drop("the client was closed")
        # The loop tells the connections, and closes their sockets, in its next round.
        await asyncio.sleep(0)

    # What a connection tells.

    def free(self, connection: ClientConnection) -> None:
        """It can be used again."""
        self._idle.setdefault(connection.whose, []).append(connection)

    def ended(self, connection: ClientConnection) -> None:
        """It will not be used any more."""
        self._every.discard(connection)
        if connection in (idle := self._idle.get(connection.whose, [])):
            idle.remove(connection)
            if not idle:
                del self._idle[connection.whose]

    def _kept(self, whose: Hashable) -> ClientConnection | None:
        while (idle := self._idle.get(whose)) is not None:
            connection = idle.pop()
            if not idle:
                del self._idle[whose]
            if connection.is_fresh():
                return connection
            connection.drop("it was idle for too long, or the server spoke unasked")
        return None

    async def _connect_and_ask(self, head: RequestStart, body: bytes, pending: PendingRequest, whose: Hashable) -> None:
        try:
            connection = await self._connect(whose)
        except Unreachable as problem:
            pending.carried_by(None)
            pending.failed(problem)
        else:
            connection.begin(head, body, pending, None)

    async def _connect(self, whose: Hashable) -> ClientConnection:
        if self.closed:
            raise Unreachable("the client is closed")
        if self._idle and len(self._every) + self._in_the_making >= min(self._connections, SPARE):
            next(iter(self._idle.values()))[0].drop("it makes room for another one")
        if len(self._every) + self._in_the_making >= self._connections:
            raise Unreachable(f"all {self._connections} connections are in use", "busy")
        origin = self._origin
        loop = asyncio.get_running_loop()
        context = (self._ssl_context or _default_context()) if origin.secure else None
        self._in_the_making += 1
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: ClientConnection(self, loop, whose),
                    origin.host,
                    origin.port,
                    ssl=context,
                    server_hostname=origin.host if context else None,
                )
        except TimeoutError:
            raise Unreachable(f"no connection within {self._connect_seconds:g} s", "timeout") from None
        except OSError as error:
            raise _unreachable(error) from None
        finally:
            self._in_the_making -= 1
        if not connection.is_open():
            connection.drop("it ended at once")
            raise Unreachable("the connection ended at once")
        self._every.add(connection)
        return connection


_REQUEST_LINE = re.compile(r"[A-Z]+ /[!-~]* HTTP/1\.1\r\n")
OURS: Final = frozenset({
    "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers that are not the caller's to send."""


def _unreachable(error: OSError) -> Unreachable:
    """Why no connection could be made. What a certificate says may stand in it."""
    match error:
        case socket.gaierror():
            return Unreachable(f"its name cannot be resolved: {error.strerror}", "dns")
        case ssl.SSLCertVerificationError():
            return Unreachable(f"its TLS certificate is not accepted: {visible(error.verify_message)}", "tls")
        case ssl.SSLError():
            return Unreachable(f"TLS fails: {(error.reason or 'no reason is given').replace('_', ' ').lower()}", "tls")
        case ConnectionRefusedError():
            return Unreachable("the connection is refused", "refused")
        case _:
            return Unreachable(f"no connection: {error.strerror or error}")


def _once(set_: Callable[[Any], None], waiter: asyncio.Future[Any]) -> Callable[[Any], None]:
    # Whoever waited may have been cancelled, and not have said so yet.
    return lambda result: None if waiter.done() else set_(result)


@cache
def _default_context() -> ssl.SSLContext:
    # Made once: reading the machine's certificates takes 25 ms.
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
