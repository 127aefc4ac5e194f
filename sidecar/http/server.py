"""An HTTP/1.1 server: one handler, each request read strictly and whole, bounded in every direction."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from functools import partial, wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeAlias, cast

from httptools import HttpRequestParser

from sidecar.http.body import Body
from sidecar.http.deadline import Deadline
from sidecar.http.exchange import Exchange, Gone, answer_bytes, text
from sidecar.http.head_cache import HeadCache
from sidecar.http.keepalive import KEEPALIVE
from sidecar.http.reader import BadMessage, MessageReader
from sidecar.http.request import RequestHead, read_request_head
from sidecar.http.values import Headers, Request, Response
from sidecar.system import defects
from sidecar.system.lines import TooLong
from sidecar.system.memory import ROOM, WEIGHT, Room

__all__ = ["CONNECTIONS", "Exchange", "Gone", "Handler", "HttpServer", "Limits"]

CONNECTIONS: Final = 4096
"""Clients that may be connected, unless fewer are to be."""
READ_AHEAD: Final = 64 << 10
"""Bytes of further requests that are taken while one is being answered: reading on is how we see that a client left."""
LINGER: Final = 2.0
"""Seconds for which a refused client may go on sending: closing at once could take our answer from it."""
THROWN_AWAY: Final = 4
"""A body that is too long is read to its end, unless it is more than this many times as long as may be."""
NO_ROOM: Final = "so much is held here that this has no room now: come back later"
_JOINED: Final = 64 << 10
"""A body up to this length is written together with its head."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server holds, in bytes, and for how long it waits."""

    connections: int = CONNECTIONS
    head: int = 32 << 10
    fields: int = 128
    body: int = 16 << 20
    head_seconds: float = 10
    body_seconds: float = 60
    idle_seconds: float = 75
    write_seconds: float = 60


Handler: TypeAlias = Callable[[Request, Exchange], Coroutine[Any, Any, None] | None]
"""Has a request answered: at once, or when something calls back; or gives back what has to be awaited, as a task."""
Admission: TypeAlias = Response | None | Coroutine[Any, Any, Response | None]
"""The refusal of a request, or None; or what has to be awaited for that."""
Admit: TypeAlias = Callable[[str, str, Headers], Admission]
"""Tells whether a request may come in, by its method, its target and its headers."""
Failed: TypeAlias = Callable[[Exchange, Exception], None]


def everyone(method: str, target: str, headers: Headers) -> None:
    """Admits every request."""


def report(exchange: Exchange, error: Exception) -> None:
    """Tells of a defect."""
    defects.tell("one request is refused", error)


class HttpServer:
    """Serves one handler at one address. `port` is the one in use, also when 0 was asked for."""

    def __init__(self, handler: Handler, limits: Limits, admit: Admit, failed: Failed, room: Room) -> None:
        self.limits = limits
        self.room = room
        self.admit = admit
        self.port = 0
        self.stopping = False
        self.cut_off = 0
        """Clients that did not take what they asked for, and whose connections ended because others need the room."""
        self.admitted = 0
        """Requests that were admitted."""
        self._handler = handler
        self._failed = failed
        self._numbers = itertools.count(1)
        self._connections: dict[_Connection, None] = {}
        """In the order in which they came."""
        self._open: dict[Exchange, int] = {}
        """Requests that are being answered, and the room that each takes."""
        self._slow: dict[_Connection, None] = {}
        """Connections on which what we wrote waits, that which waits longest first."""
        self._running: dict[Exchange, asyncio.Task[None]] = {}
        self._listening: asyncio.Server | None = None
        self._empty = asyncio.Event()
        room.relieve.append(self._relieve)

    @classmethod
    async def start(
        cls, host: str, port: int, handler: Handler, limits: Limits = Limits(), admit: Admit = everyone,
        failed: Failed = report, room: Room | None = None,
    ) -> HttpServer:  # fmt: skip
        """Listen. `admit` is asked when a head has come, before any body is read: its Response refuses the request.
        While its answer is awaited nothing more is read.

        What it admitted once it is not asked about again while the same head comes on the same connection and the
        server does not stop. `failed` hears of what went wrong while a request was answered, and may still answer it.
        What is held is counted in `room`. Raises OSError when the address cannot be had.
        """
        server = cls(handler, limits, admit, failed, room or Room(ROOM))
        loop = asyncio.get_running_loop()
        server._listening = await loop.create_server(lambda: _Connection(server, loop), host, port, backlog=1024)
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

    def opened(self, connection: _Connection) -> bool:
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

    def closed(self, connection: _Connection) -> None:
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
        """It has its answer, or nobody waits for one: unless a task is still at work, that is all."""
        if exchange not in self._running:
            self.room.taken -= self._open.pop(exchange, 0)

    def let_go(self, exchange: Exchange) -> None:
        """Nothing of its request is held any more, though it is not answered yet."""
        if exchange in self._open:
            self.room.taken -= self._open[exchange]
            self._open[exchange] = 0

    def waits(self, connection: _Connection) -> None:
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

    def keeps_up(self, connection: _Connection) -> None:
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


class _Phase(Enum):
    HEAD = "a head is read, or waited for"
    ADMISSION = "it is found out whether the request may come in"
    BODY = "a body is read"
    ANSWER = "a request is being answered"
    REFUSED = "the last answer is written, and what still comes is thrown away"
    ENDED = "nothing is read any more"


_Given = ParamSpec("_Given")


def _contained(
    step: Callable[Concatenate[_Connection, _Given], None],
) -> Callable[Concatenate[_Connection, _Given], None]:
    """What the event loop calls: a defect in it ends this connection and no other."""

    @wraps(step)
    def contained(connection: _Connection, /, *given: _Given.args, **named: _Given.kwargs) -> None:
        try:
            step(connection, *given, **named)
        except Exception as error:  # noqa: BLE001 - it is told, whatever it is
            connection.broke(error)

    return contained


_DEAF: Final = (_Phase.REFUSED, _Phase.ENDED)


class _Connection(asyncio.Protocol):
    """One client: its requests one after another, each read whole before it is answered."""

    _transport: asyncio.Transport
    _head: RequestHead
    _length: int | None
    _body: Body

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self.full = False
        self._server = server
        self._limits = server.limits
        self._loop = loop
        self._reader = MessageReader(HttpRequestParser, server.limits.head, server.limits.fields)
        self._known: HeadCache[RequestHead] = HeadCache()
        self._deadline = Deadline(loop, self._too_late)
        self._peer = ""
        self._phase = _Phase.HEAD
        self._begun = False
        """Some of the head has come."""
        self.used = 0
        """The number of the last request on it that was admitted, among all; 0 before the first."""
        self._head_only = False
        self._paused = False
        self._written = self._taken = 0
        self._waiting = self._ahead = 0
        """Bytes that were written and not taken, and that came and were not read, as far as they are counted."""
        self._waiters: list[asyncio.Future[None]] = []
        self._exchange: Exchange | None = None
        self._number = server.number()
        self._asking: asyncio.Task[Response | None] | None = None

    # What asyncio calls.

    @_contained
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses
        peer = transport.get_extra_info("peername")
        if peer is None:
            # It was reset before anybody looked at it: nobody is there.
            self._phase = _Phase.ENDED
            self._transport.abort()
            return
        self._peer = str(peer[0])
        if not self._server.opened(self):
            self.write(*answer_bytes(text(503, "there are too many connections"), closes=True, head_only=False))
            self._end()
            return
        self._deadline.set(self._limits.idle_seconds)

    @_contained
    def data_received(self, data: bytes) -> None:
        if self._phase not in _DEAF:
            self._reader.feed(data)
            self._advance()

    @_contained
    def eof_received(self) -> None:
        # Whoever sends no more is taken for gone: that is how clients leave, and there is no other sign of it.
        self._left()
        self._watch_writing()

    @_contained
    def connection_lost(self, error: Exception | None) -> None:
        self._left()
        self.let_go_of_all()
        self._deadline.stop()
        self._server.closed(self)

    @_contained
    def pause_writing(self) -> None:
        self.full = True
        self._watch_writing()
        self._count_written()

    @_contained
    def resume_writing(self) -> None:
        self.full = False
        self._server.keeps_up(self)
        self._wake()
        if self._phase is _Phase.ANSWER:
            self._deadline.clear()
        elif self._phase is _Phase.HEAD or self._phase is _Phase.BODY:
            seconds = self._limits.idle_seconds if self._phase is _Phase.HEAD else self._limits.body_seconds
            self._deadline.set(seconds)
            self._advance()

    # Reading.

    @_contained
    def _advance(self) -> None:
        """Read on, as far as there is something to read and nothing is being answered."""
        try:
            # While our answers are not taken, no further request is.
            while not self.full:
                if self._phase is _Phase.HEAD:
                    if not self._read_head():
                        break
                elif self._phase is not _Phase.BODY or not self._read_body():
                    break
            if self._reader.waiting != self._ahead:
                self._count_ahead(self._reader.waiting)
                self._make_room(self._ahead, 0)
        except BadMessage as bad:
            self._refuse(text(bad.status, str(bad)))
        self._pace()

    def _read_head(self) -> bool:
        """Read the next head, and have it answered where that is all; False when there is nothing more to do now."""
        data = self._reader.next_head()
        if data is None:
            if self._reader.waiting and not self._begun:
                self._begun = True
                self._deadline.set(self._limits.head_seconds)
            return False
        self._begun = False
        known = None if self._server.stopping else self._known.recall(data)
        if known is not None and known[1] <= self._limits.body and (body := self._reader.take(known[1])) is not None:
            self._head, self._head_only = known[0], False
            self._dispatch_held(body)
            return False
        self._head_only = data.startswith(b"HEAD ")
        self._head, self._length = read_request_head(self._reader, data)
        refusal = self._asked(self._head)
        if refusal is None:
            return self._admitted(data)
        if isinstance(refusal, Response):
            self._turn_away(refusal)
            return True
        self._phase = _Phase.ADMISSION
        self._deadline.set(self._limits.body_seconds)
        self._asking = self._loop.create_task(refusal)
        self._asking.add_done_callback(partial(self._answered, data))
        return False

    @_contained
    def _answered(self, data: bytes, asking: asyncio.Task[Response | None]) -> None:
        """It is known whether the request whose head is `data` may come in."""
        if self._phase is not _Phase.ADMISSION:
            return
        self._phase = _Phase.HEAD
        try:
            refusal = asking.result()
            if refusal is not None:
                self._turn_away(refusal)
            else:
                self._admitted(data)
        except BadMessage as bad:
            self._refuse(text(bad.status, str(bad)))
        self._advance()

    def _admitted(self, data: bytes) -> bool:
        """The request whose head is `data` may come in: read its body. True when there may be more to do now."""
        head, length = self._head, self._length
        if length and not self._head_only:
            self._known.keep(data, head)
        if length is not None and length <= min(self._reader.waiting, self._limits.body):
            # It has come with its head, as most do.
            self._reader.set_length(length)
            self._dispatch_held(b"".join(self._reader.body()))
            return False
        self._begin_body()
        return True

    def _asked(self, head: RequestHead) -> Admission:
        try:
            return self._server.admit(head.method, head.target, head.headers)
        except Exception as error:  # noqa: BLE001 - who cannot be admitted is refused, whatever it is
            raise BadMessage(500, defects.text(defects.tell("one request is refused", error))) from None

    def _turn_away(self, refusal: Response) -> None:
        if self._length != 0:
            self._refuse(refusal)
            return
        self._reader.set_length(0)
        self._exchange_for(self._head).send(refusal)

    def _dispatch_held(self, body: bytes) -> None:
        weight = WEIGHT * len(body)
        self._make_room(weight, weight)
        self._server.room.taken += weight
        self._dispatch(body)

    def _begin_body(self) -> None:
        length = self._length
        if length is None:
            self._reader.set_open()
        elif length > THROWN_AWAY * self._limits.body:
            raise BadMessage(413, "the body is too long")
        else:
            self._reader.set_length(length)
        self._body = Body(self._limits.body)
        self._phase = _Phase.BODY
        if self._head.wants_continue and not self._reader.waiting:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._deadline.set(self._limits.body_seconds)

    def _read_body(self) -> bool:
        """Read what has come of the body, and have the request answered when that is all; False: read no further."""
        body, held = self._body, self._body.held
        for piece in self._reader.body():
            body.add(piece)
        self._server.room.taken += body.held - held
        if body.size > THROWN_AWAY * self._limits.body:
            raise BadMessage(413, "the body is too long")
        self._make_room(body.held, 0)
        if not self._reader.complete:
            return False
        whole = body.whole()
        if isinstance(whole, bytes):
            # From here on it weighs more; where that does not fit, leaving the phase gives back what it weighed so far.
            more = (WEIGHT - 1) * len(whole)
            self._make_room(WEIGHT * len(whole), more)
            self._server.room.taken += more
        else:
            self._server.room.taken -= body.held
        del self._body
        self._dispatch(whole)
        return False

    def _dispatch(self, body: bytes | TooLong) -> None:
        head = self._head
        request = Request(head.method, head.path, head.query, head.headers, body, self._number, self._peer)
        self._server.answer(request, self._exchange_for(head))
        self.used = self._server.admitted

    def _exchange_for(self, head: RequestHead) -> Exchange:
        self._phase = _Phase.ANSWER
        self._deadline.clear()
        exchange = Exchange(self, head_only=self._head_only, version_10=head.version_10)
        self._exchange = exchange
        return exchange

    def _pace(self) -> None:
        busy = self._phase is _Phase.ANSWER or self._phase is _Phase.ADMISSION or self.full
        if self._paused is not (busy and self._reader.waiting > READ_AHEAD):
            self._paused = not self._paused
            if self._paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # Answering: what an exchange asks for.

    def write(self, head: bytes, body: bytes = b"") -> None:
        if self._transport.is_closing():
            # The loop knows that the client left and will tell us; a handler that goes on writing has to see it now.
            self._left()
            return
        self._written += len(head) + len(body)
        if len(body) > _JOINED:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head + body if body else head)
        if self.full:
            self._count_written()

    async def room(self) -> None:
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def is_last(self) -> bool:
        return self._server.stopping or not self._head.lives_on

    def run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._server.run(exchange, work)

    def failed(self, exchange: Exchange, error: Exception) -> None:
        self._server.failed(exchange, error)

    def answered(self, *, closes: bool) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._server.left(exchange)
        if self._phase is not _Phase.ANSWER:
            return
        if closes or self._server.stopping:
            self._end()
            return
        self._phase = _Phase.HEAD
        if not self.full:
            self._deadline.set(self._limits.idle_seconds)
        if self._reader.waiting:
            # Not from here: a handler is at work, and other connections have their turn.
            self._loop.call_soon(self._advance)

    def let_go(self, exchange: Exchange) -> None:
        self._server.let_go(exchange)

    def soon(self, callback: Callable[[], object]) -> None:
        self._loop.call_soon(callback)

    def abort(self) -> None:
        self._left()
        self._transport.abort()

    def broke(self, error: Exception) -> None:
        """A defect of ours: this connection ends, and nothing else."""
        defects.tell("one connection is ended", error)
        self._transport.abort()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # Counting.

    def _make_room(self, size: int, more: int) -> None:
        """See that there is room for something of this size, of which `more` is not counted yet. Raises BadMessage."""
        if not self._server.room.make(size, more):
            raise BadMessage(503, NO_ROOM)

    @property
    def has_begun(self) -> bool:
        """True while a part of a head has come."""
        return self._phase is _Phase.HEAD and self._ahead > 0

    def let_go_of_all(self) -> None:
        """What was written or came does not count any more: the connection ends."""
        self._server.keeps_up(self)
        self._count_ahead(0)

    def count_waiting(self, size: int) -> None:
        """So many bytes were written and not taken."""
        self._server.room.taken += size - self._waiting
        self._waiting = size

    def _count_written(self) -> None:
        if self._transport.is_closing():
            return  # it was cut off, and counts no more
        self.count_waiting(self._transport.get_write_buffer_size())
        self._server.waits(self)

    def _count_ahead(self, size: int) -> None:
        """So many bytes came and were not read."""
        self._server.room.taken += size - self._ahead
        self._ahead = size

    # Ending.

    @property
    def is_spare(self) -> bool:
        """True while nothing is being read or answered that was admitted."""
        return self._phase is not _Phase.ANSWER and self._phase is not _Phase.BODY

    def end_if_idle(self) -> None:
        """End, unless a request has begun."""
        if self._phase is _Phase.HEAD and not self._reader.waiting:
            self._end()

    def _refuse(self, response: Response) -> None:
        """The last answer, after which nothing more is read."""
        self._leave(_Phase.REFUSED)
        self.write(*answer_bytes(response, closes=True, head_only=self._head_only))
        self._transport.write_eof()
        self._deadline.set(LINGER)

    def _end(self) -> None:
        """Close, once what was written has been taken."""
        self._leave()
        self._transport.close()
        self._watch_writing()

    def _left(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_left()
            self._server.left(exchange)
        self._leave()
        self._wake()

    def _leave(self, phase: _Phase = _Phase.ENDED) -> None:
        if self._phase is _Phase.BODY:
            self._server.room.taken -= self._body.held
            del self._body
        elif self._phase is _Phase.ADMISSION and self._asking is not None:
            self._asking.cancel()
        self._phase = phase

    def _watch_writing(self) -> None:
        self._taken = self._written - self._transport.get_write_buffer_size()
        self._deadline.set(self._limits.write_seconds)

    @_contained
    def _too_late(self) -> None:
        if self._phase is _Phase.REFUSED:
            self.abort()
        elif self.full or self._phase is _Phase.ENDED:
            if self._written - self._transport.get_write_buffer_size() > self._taken:
                self._watch_writing()
            else:
                self.abort()
        elif self._phase is _Phase.HEAD and not self._begun:
            self._end()
        elif self._phase is _Phase.ADMISSION:
            self._refuse(text(503, "nobody could say in time whether this request may come in"))
        else:
            self._refuse(text(408, "the request did not come in time"))
