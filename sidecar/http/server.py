"""An HTTP/1.1 server: one handler, and every client's connection, bounded in every direction.

A connection reads requests strictly and whole, and has them answered here; what it is at, and why, stands in
`server_connection`. Here stands what concerns all of them: how many there may be, what is held for them and who has to
go for whom when there is no room, which requests are being answered, and how it all ends.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias

from sidecar.http.exchange import Exchange, Gone
from sidecar.http.keepalive import KEEPALIVE
from sidecar.http.server_connection import CONNECTIONS, Admission, Admit, Limits, ServerConnection
from sidecar.http.values import Headers, Request, TurnedAway
from sidecar.system import defects
from sidecar.system.memory import DEFAULT_BUDGET, WEIGHT, MemoryBudget

__all__ = ["CONNECTIONS", "Admission", "Admit", "Exchange", "Gone", "Handler", "HttpServer", "Limits"]

_USUAL: Final = Limits()

Handler: TypeAlias = Callable[[Request, Exchange], Coroutine[Any, Any, None] | None]
"""Has a request answered: at once, or when something calls back; or gives back what has to be awaited, as a task."""
Failed: TypeAlias = Callable[[Exchange, Exception], None]


def everyone(method: str, target: str, headers: Headers) -> None:
    """Admits every request."""


def unheard(refusal: TurnedAway, peer: str) -> None:
    """Nobody hears of what is refused."""


def report(exchange: Exchange, error: Exception) -> None:
    """Tells of a defect."""
    defects.tell("one request is refused", error)


class HttpServer:
    """Serves one handler at one address. `port` is the one in use, also when 0 was asked for; 0 on a unix socket."""

    def __init__(self, handler: Handler, limits: Limits, admit: Admit, failed: Failed, room: MemoryBudget) -> None:
        self.limits = limits
        self.room = room
        self.admit = admit
        self.turned_away: Callable[[TurnedAway, str], None] = unheard
        """Hears of each request that is refused by a `TurnedAway`, and of the address that it came from."""
        self.port = 0
        self.stopping = False
        self.cut_off = 0
        """Clients that did not take what they asked for, and whose connections ended because others need the room."""
        self.admitted = 0
        """Requests that were admitted."""
        self._handler = handler
        self._failed = failed
        self._numbers = itertools.count(1)
        self._connections: dict[ServerConnection, None] = {}
        """In the order in which they came."""
        self._open: dict[Exchange, int] = {}
        """Requests that are being answered, and the room that each takes."""
        self._slow: dict[ServerConnection, None] = {}
        """Connections on which what we wrote waits, that which waits longest first."""
        self._running: dict[Exchange, asyncio.Task[None]] = {}
        self._listening: asyncio.Server | None = None
        self._empty = asyncio.Event()
        room.relieve.append(self._relieve)

    @classmethod
    async def start(
        cls, host: str, port: int, handler: Handler, limits: Limits = _USUAL, admit: Admit = everyone,
        failed: Failed = report, room: MemoryBudget | None = None, bound: socket.socket | None = None,
    ) -> HttpServer:  # fmt: skip
        """Listen, on the unix socket `bound` where one is given.

        `admit` is asked when a head has come, before any body is read: its Response refuses the request. While its
        answer is awaited nothing more is read.

        What it admitted once it is not asked about again while the same head comes on the same connection and the
        server does not stop. `failed` hears of what went wrong while a request was answered, and may still answer it.
        What is held is counted in `room`. Raises OSError when the address cannot be had.
        """
        server = cls(handler, limits, admit, failed, room or MemoryBudget(DEFAULT_BUDGET))
        loop = asyncio.get_running_loop()

        def connected() -> ServerConnection:
            return ServerConnection(server, loop)

        if bound is not None:
            server._listening = await loop.create_unix_server(connected, sock=bound, backlog=1024)
            return server
        server._listening = await loop.create_server(connected, host, port, backlog=1024)
        for listening in server._listening.sockets:
            # Accepted connections inherit these, so that a client that vanished is noticed.
            for level, option, value in KEEPALIVE:
                listening.setsockopt(level, option, value)
        server.port = server._listening.sockets[0].getsockname()[1]
        return server

    @property
    def active(self) -> int:
        """Requests that are being answered now."""
        return len(self._open)

    def stop_accepting(self) -> None:
        """Stop listening; what is being answered is answered, and then its connection ends."""
        self.stopping = True
        if self._listening is not None:
            self._listening.close()
        for connection in list(self._connections):
            connection.end_if_idle()

    async def close(self, seconds: float = 1.0) -> None:
        """Stop, wait this long for running answers, then break what is left."""
        self.stop_accepting()
        await self._emptied(seconds)
        running = list(self._running.values())
        for task in running:
            task.cancel()
        for connection in list(self._connections):
            connection.abort()
        if running:
            await asyncio.wait(running, timeout=1.0)
        await self._emptied(1.0)

    # What a connection asks for.

    def number(self) -> int:
        """A number that no other connection has."""
        return next(self._numbers)

    def opened(self, connection: ServerConnection) -> bool:
        """Count a new connection; False when there is no room for it.

        One on which nothing is asked for makes room: first of all one that never asked for anything.
        """
        if self.stopping:
            return False
        if len(self._connections) >= self.limits.connections:
            spare = min((one for one in self._connections if one.is_spare), key=lambda one: one.used, default=None)
            if spare is None:
                return False
            self.closed(spare)
            spare.abort()
        self._connections[connection] = None
        return True

    def closed(self, connection: ServerConnection) -> None:
        """Forget a connection that has ended."""
        self._connections.pop(connection, None)
        if not self._connections:
            self._empty.set()

    def answer(self, request: Request, exchange: Exchange) -> None:
        """Have a request answered."""
        self.admitted += 1
        self._open[exchange] = WEIGHT * len(request.body) if isinstance(request.body, bytes) else 0
        try:
            work = self._handler(request, exchange)
        except Exception as error:  # noqa: BLE001 - it is told to `failed`, whatever it is
            exchange.failed(error)
        else:
            if work is not None:
                self.run(exchange, work)

    def run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have a request answered by a task."""
        task = self._running[exchange] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(partial(self._ended, exchange))
        return task

    def failed(self, exchange: Exchange, error: Exception) -> None:
        """Something went wrong while a request was answered: that one has to end."""
        if not isinstance(error, Gone):
            self._failed(exchange, error)
        exchange.handler_left()

    def left(self, exchange: Exchange) -> None:
        """The exchange is finished. What is held for it is let go of, unless its task is still running."""
        if exchange not in self._running:
            self.room.taken -= self._open.pop(exchange, 0)

    def let_go(self, exchange: Exchange) -> None:
        """Nothing of its request is held any more, though it is not answered yet."""
        if exchange in self._open:
            self.room.taken -= self._open[exchange]
            self._open[exchange] = 0

    def waits(self, connection: ServerConnection) -> None:
        """What was written to a client waits to be taken."""
        self._slow[connection] = None
        self.room.make(0)

    def _relieve(self) -> bool:
        """End the connection of who does not take what was asked for, else of who begins to ask and does not go on."""
        begun = (one for one in self._connections if one.has_begun)
        found = next(iter(self._slow), None) or next(begun, None)
        if found is None:
            return False
        self.cut_off += 1
        found.abort()
        found.let_go_of_all()
        return True

    def keeps_up(self, connection: ServerConnection) -> None:
        """Nothing that was written to it waits any more."""
        if connection in self._slow:
            del self._slow[connection]
        connection.count_waiting(0)

    def _ended(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        # A task may have handed over to another one before it ended.
        if self._running.get(exchange) is task:
            del self._running[exchange]
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            exchange.failed(error)
        else:
            exchange.handler_left()
        if exchange.is_over:
            self.left(exchange)

    async def _emptied(self, seconds: float) -> None:
        self._empty.clear()
        if self._connections and seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
            except TimeoutError:
                return
