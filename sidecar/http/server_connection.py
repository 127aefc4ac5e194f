"""One client's HTTP/1.1 connection: its requests one after another, each read whole before it is answered.

Theory of operation. What a connection is at has one name, its phase. Bytes are read as far as the phase allows, and no
further request is begun while one is being answered or while the client does not take what was written to it: so
requests are answered in their order, one at a time, and each once.

    IDLE --- part of a head ---> HEAD
      |                           |
      +-------- a head -----------+---> ADMISSION (only where it takes time) ---+
      |                           |                 |                           |
      +---------------------------+-----------------+--- admitted ---> BODY     | admitted, its body has come
      |                           |                 |                   |       |
      +---------------------------+-----------------+-------------------+-------+---> ANSWER
                                                                                        |
                                                        its answer is written           |
    IDLE <------------------------------------------------------------------------------+

    before ANSWER: it cannot be read, is not admitted, or comes too late ---> REFUSED --- the client left ---> ENDED
    whatever the phase: the client left, or the last answer is written -------------------------------------> ENDED

| what happens | IDLE, HEAD | ADMISSION | BODY | ANSWER | REFUSED, ENDED |
|---|---|---|---|---|---|
| bytes | the head | wait | the body | wait, up to READ_AHEAD | thrown away |
| end of the stream, reset | ENDED | ENDED, the question is cancelled | ENDED | ENDED, the exchange is `gone` | ENDED |
| the deadline passes | IDLE: ENDED; HEAD: 408 | 503 | 408 | none runs | the connection is broken |
| the client does not keep up | nothing is read | ANSWER waits in `write` | nothing is read | `write` waits | - |

Whatever the phase, a client that takes nothing of what waits for it within `Limits.write_seconds` is gone. While a
request is being answered nothing else bounds how long that takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from functools import partial, wraps
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeAlias, cast

from httptools import HttpRequestParser

from sidecar.http.body import Body
from sidecar.http.deadline import Deadline
from sidecar.http.exchange import Exchange, answer_bytes, text, turned_away
from sidecar.http.head_cache import HeadCache
from sidecar.http.reader import BadMessage, MessageReader
from sidecar.http.request import RequestHead, read_request_head
from sidecar.http.values import Headers, Request, Response, TurnedAway
from sidecar.system import defects
from sidecar.system.lines import TooLong
from sidecar.system.memory import WEIGHT, MemoryBudget

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


Admission: TypeAlias = Response | None | Coroutine[Any, Any, Response | None]
"""The refusal of a request, or None; or what has to be awaited for that."""
Admit: TypeAlias = Callable[[str, str, Headers], Admission]
"""Tells whether a request may come in, by its method, its target and its headers."""


class Phase(StrEnum):
    """What a connection is at."""

    IDLE = "idle"
    """Nothing of a request has come, or nothing of it was read."""
    HEAD = "reading a head"
    """A part of a head has come."""
    ADMISSION = "finding out whether a request may come in"
    BODY = "reading a body"
    ANSWER = "answering a request"
    REFUSED = "refused"
    """The last answer is written, and what still comes is thrown away."""
    ENDED = "ended"
    """Nothing is read any more."""


# Bound once: looking a member up in its class takes longer than a transition.
IDLE, HEAD, ADMISSION, BODY, ANSWER, REFUSED, ENDED = Phase

_MAY_FOLLOW: Final = {
    IDLE: (ANSWER, HEAD, ADMISSION, BODY, REFUSED, ENDED),
    HEAD: (ANSWER, ADMISSION, BODY, REFUSED, ENDED),
    ADMISSION: (ANSWER, BODY, REFUSED, ENDED),
    BODY: (ANSWER, REFUSED, ENDED),
    ANSWER: (IDLE, ENDED),
    REFUSED: (ENDED,),
    ENDED: (),
}
_BEFORE_A_BODY: Final = (IDLE, HEAD)
_DEAF: Final = (REFUSED, ENDED)


class Server(Protocol):
    """What a connection needs of its server."""

    limits: Limits
    room: MemoryBudget
    admit: Admit
    stopping: bool
    admitted: int
    """Requests that were admitted."""
    turned_away: Callable[[TurnedAway, str], None]
    """Hears of each request that is refused by such an answer, and of the address that it came from."""

    def number(self) -> int:
        """A number that no other connection has."""

    def opened(self, connection: ServerConnection) -> bool:
        """Count a new connection; False when there is no room for it."""

    def closed(self, connection: ServerConnection) -> None:
        """Forget a connection that has ended."""

    def answer(self, request: Request, exchange: Exchange) -> None:
        """Have a request answered."""

    def run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have a request answered by a task."""

    def failed(self, exchange: Exchange, error: Exception) -> None:
        """Something went wrong while a request was answered."""

    def left(self, exchange: Exchange) -> None:
        """The exchange is finished."""

    def let_go(self, exchange: Exchange) -> None:
        """Nothing of its request is held any more, though it is not answered yet."""

    def waits(self, connection: ServerConnection) -> None:
        """What was written to a client waits to be taken."""

    def keeps_up(self, connection: ServerConnection) -> None:
        """Nothing that was written to it waits any more."""


def _refusal(bad: BadMessage) -> Response:
    """The answer to what cannot be read, or has no room here. A defect of ours refuses nobody, and is told as one."""
    if bad.status == 500:
        return text(bad.status, str(bad))
    return turned_away(bad.status, str(bad), _REASONS.get(bad.status, "unreadable"))


_REASONS: Final = {413: "too_large", 415: "content_type", 431: "too_large", 503: "full"}

_Given = ParamSpec("_Given")


def _contained(
    step: Callable[Concatenate[ServerConnection, _Given], None],
) -> Callable[Concatenate[ServerConnection, _Given], None]:
    """What the event loop calls: a defect in it ends this connection and no other."""

    @wraps(step)
    def contained(connection: ServerConnection, /, *given: _Given.args, **named: _Given.kwargs) -> None:
        try:
            step(connection, *given, **named)
        except Exception as error:  # noqa: BLE001 - it is told, whatever it is
            connection.broke(error)

    return contained


class ServerConnection(asyncio.Protocol):
    """The protocol that the event loop drives. See the theory of operation above."""

    _transport: asyncio.Transport
    _head: RequestHead
    _length: int | None
    _body: Body
    """What has come of a body, in BODY only."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.full = False
        self._server = server
        self._limits = server.limits
        self._loop = loop
        self._reader = MessageReader(HttpRequestParser, server.limits.head, server.limits.fields)
        self._heads: HeadCache[RequestHead] = HeadCache()
        self._deadline = Deadline(loop, self._too_late)
        self._peer = ""
        self._phase = IDLE
        self.used = 0
        """The number of the last request on it that was admitted, among all; 0 before the first."""
        self._head_only = False
        self._paused = False
        self._written = self._taken = 0
        self._waiting = self._ahead = 0
        """Bytes that were written and not taken, and that came and were not read, as far as they are counted."""
        self._waiters: list[asyncio.Future[None]] = []
        self._exchange: Exchange | None = None
        """The request that is being answered, in ANSWER only."""
        self._number = server.number()
        self._admission: asyncio.Task[Response | None] | None = None
        """What finds out whether a request may come in, in ADMISSION only."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._number} {self._phase}>"

    # What asyncio calls.

    @_contained
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses
        peer = transport.get_extra_info("peername")
        if peer is None:
            # It was reset before anybody looked at it: nobody is there.
            self._leave()
            self._transport.abort()
            return
        self._peer = str(peer[0]) if peer else ""  # on a unix socket nobody has an address
        if not self._server.opened(self):
            refusal = turned_away(503, "there are too many connections", "full")
            self.turned_away(refusal)
            self.write(*answer_bytes(refusal, closes=True, head_only=False))
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
        if self._phase is ANSWER:
            self._deadline.clear()
        elif self._phase is BODY:
            self._deadline.set(self._limits.body_seconds)
            self._advance()
        elif self._phase in _BEFORE_A_BODY:
            idle = self._phase is IDLE
            self._deadline.set(self._limits.idle_seconds if idle else self._limits.head_seconds)
            self._advance()

    # Reading.

    @_contained
    def _advance(self) -> None:
        """Read on, as far as there is something to read and nothing is being answered."""
        try:
            # While our answers are not taken, no further request is.
            while not self.full:
                if self._phase is BODY:
                    self._read_body()
                    break
                if self._phase not in _BEFORE_A_BODY or not self._read_head():
                    break
            if self._reader.waiting != self._ahead:
                self._count_unread()
        except BadMessage as bad:
            self._refuse(_refusal(bad))
        self._pace()

    def _read_head(self) -> bool:
        """Read the next head, and have it answered where that is all; False when there is nothing more to do now."""
        data = self._reader.next_head()
        if data is None:
            if self._reader.waiting and self._phase is IDLE:
                self._enter(HEAD)
                self._deadline.set(self._limits.head_seconds)
            return False
        known = None if self._server.stopping else self._heads.recall(data)
        if known is not None and known[1] <= self._limits.body and (body := self._reader.take(known[1])) is not None:
            self._head, self._head_only = known[0], False
            self._dispatch_held(body)
            return False
        self._head_only = data.startswith(b"HEAD ")
        self._head, self._length = read_request_head(self._reader, data)
        refusal = self._ask_admission(self._head)
        if refusal is None:
            return self._admitted(data)
        if isinstance(refusal, Response):
            self._turn_away(refusal)
            return True
        self._enter(ADMISSION)
        self._deadline.set(self._limits.body_seconds)
        self._admission = self._loop.create_task(refusal)
        self._admission.add_done_callback(partial(self._found_out, data))
        return False

    @_contained
    def _found_out(self, data: bytes, admission: asyncio.Task[Response | None]) -> None:
        """It is known whether the request whose head is `data` may come in."""
        if self._phase is not ADMISSION:
            return
        self._admission = None
        try:
            refusal = admission.result()
            if refusal is not None:
                self._turn_away(refusal)
            else:
                self._admitted(data)
        except BadMessage as bad:
            self._refuse(_refusal(bad))
        self._advance()

    def _admitted(self, data: bytes) -> bool:
        """The request whose head is `data` may come in: read its body. True when there may be more to do now."""
        head, length = self._head, self._length
        if length and not self._head_only:
            self._heads.keep(data, head)
        if length is not None and length <= min(self._reader.waiting, self._limits.body):
            # It has come with its head, as most do.
            self._reader.set_length(length)
            self._dispatch_held(b"".join(self._reader.body()))
            return False
        self._begin_body()
        return True

    def _ask_admission(self, head: RequestHead) -> Admission:
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
        self._enter(BODY)
        if self._head.wants_continue and not self._reader.waiting:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._deadline.set(self._limits.body_seconds)

    def _read_body(self) -> None:
        """Read what has come of the body, and have the request answered when that is all."""
        body, held = self._body, self._body.held
        for piece in self._reader.body():
            body.add(piece)
        self._server.room.taken += body.held - held
        if body.size > THROWN_AWAY * self._limits.body:
            raise BadMessage(413, "the body is too long")
        self._make_room(body.held, 0)
        if not self._reader.complete:
            return
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

    def _dispatch(self, body: bytes | TooLong) -> None:
        head = self._head
        request = Request(head.method, head.path, head.query, head.headers, body, self._number, self._peer)
        self._server.answer(request, self._exchange_for(head))
        self.used = self._server.admitted

    def _exchange_for(self, head: RequestHead) -> Exchange:
        self._enter(ANSWER)
        if not self.full:
            # Else it bounds how long the client takes nothing of what was written before.
            self._deadline.clear()
        exchange = Exchange(self, head_only=self._head_only, version_10=head.version_10)
        self._exchange = exchange
        return exchange

    def _pace(self) -> None:
        busy = self._phase is ANSWER or self._phase is ADMISSION or self.full
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
        if self._phase is not ANSWER:
            return
        if closes or self._server.stopping:
            self._end()
            return
        self._enter(IDLE)
        if not self.full:
            self._deadline.set(self._limits.idle_seconds)
        if self._reader.waiting:
            # Not from here: a handler is at work, and other connections have their turn.
            self._loop.call_soon(self._advance)

    def let_go(self, exchange: Exchange) -> None:
        self._server.let_go(exchange)

    def turned_away(self, refusal: TurnedAway) -> None:
        self._server.turned_away(refusal, self._peer)

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
        room = self._server.room
        if room.has(size, more):
            return
        # Who is here to ask must not go as one who does not go on.
        self._count_ahead(0)
        if not room.make(size, more) or self._phase is ENDED:
            raise BadMessage(503, NO_ROOM)

    def _count_unread(self) -> None:
        """What came and was not read takes room: where there is none, this connection ends. Raises BadMessage."""
        if self._phase in _DEAF:
            return
        waiting = self._reader.waiting
        self._count_ahead(waiting)
        if self._server.room.make(waiting, 0):
            return
        if self._phase is ANSWER:
            self.abort()  # a refusal would be taken for the answer that is on its way
        else:
            raise BadMessage(503, NO_ROOM)

    @property
    def has_begun(self) -> bool:
        """True while something of a request has come that is not read."""
        return self._phase in _BEFORE_A_BODY and self._ahead > 0

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

    # Moving on.

    def _enter(self, phase: Phase) -> None:
        assert phase in _MAY_FOLLOW[self._phase], f"{self!r} cannot become {phase}"
        self._phase = phase

    @property
    def is_spare(self) -> bool:
        """True while nothing is being read or answered that was admitted."""
        return self._phase is not ANSWER and self._phase is not BODY

    def end_if_idle(self) -> None:
        """End, unless a request has begun."""
        if self._phase is IDLE and not self._reader.waiting:
            self._end()

    def _refuse(self, response: Response) -> None:
        """The last answer, after which nothing more is read."""
        if self._phase is ENDED:
            return  # it had to go for others
        if isinstance(response, TurnedAway):
            self.turned_away(response)
        self._leave(REFUSED)
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

    def _leave(self, phase: Phase = ENDED) -> None:
        if self._phase is BODY:
            self._server.room.taken -= self._body.held
            del self._body
        elif self._admission is not None:
            self._admission.cancel()
            self._admission = None
        if self._phase is not ENDED:
            self._enter(phase)
            self._reader.discard()
            self._count_ahead(0)

    def _watch_writing(self) -> None:
        self._taken = self._written - self._transport.get_write_buffer_size()
        self._deadline.set(self._limits.write_seconds)

    @_contained
    def _too_late(self) -> None:
        if self._phase is REFUSED:
            self.abort()
        elif self.full or self._phase is ENDED:
            if self._written - self._transport.get_write_buffer_size() > self._taken:
                self._watch_writing()
            else:
                self.abort()
        elif self._phase is IDLE:
            self._end()
        elif self._phase is ADMISSION:
            self._refuse(turned_away(503, "nobody could say in time whether this request may come in", "keys"))
        else:
            self._refuse(turned_away(408, "the request did not come in time", "late"))
