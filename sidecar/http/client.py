"""An HTTP/1.1 client for one origin: kept connections, strict answers, and the truth about what may have run.

Nothing in HTTP/1.1 says which request an answer is for: a server that answers once too often is taken to have answered
the next one. So a connection carries requests of one client only (`whose`), it is looked at before it is used again,
and whoever finds that an answer was none to his request has it `retire`.
"""

from __future__ import annotations

import asyncio
import re
import select
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, cast

from httptools import HttpResponseParser

from sidecar.http.body import Body
from sidecar.http.deadline import Deadline
from sidecar.http.head_cache import Remembered
from sidecar.http.keepalive import KEEPALIVE
from sidecar.http.origin import Origin
from sidecar.http.reader import BadMessage, MessageReader
from sidecar.http.values import Headers, Lines, Repeated, field_lines
from sidecar.system import tasks
from sidecar.system.lines import TooLong
from sidecar.system.memory import ROOM, Room, Share
from sidecar.text import visible

MAX_HEAD: Final = 32 << 10
MAX_FIELDS: Final = 256
MAX_WAITING: Final = 256 << 10
"""Bytes of a body that wait for whoever reads it; while there are more, nothing is read from the server."""
COUNTED: Final = 16 << 10
"""Bytes of a body from which on they are counted while they wait: nearly every answer is taken as it comes."""
MAX_INTERIM: Final = 8
"""Interim answers (1xx) before the one that counts."""
SPARE: Final = 512
"""Connections from which on one that is idle makes room for a new one."""
_JOINED: Final = 64 << 10
"""A body up to this length is written together with its head."""


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


class Asking:
    """A request under way: `answered` gets its answer, or `failed` why there is none, unless it is given up before.

    That the request certainly did not run is an `Unreachable`, that it may have run a `Lost`.
    """

    __slots__ = ("_carrier", "answered", "failed")

    def __init__(self, answered: Callable[[Answer], object], failed: Callable[[Unreachable | Lost], object]) -> None:
        self.answered = answered
        self.failed = failed
        self._carrier: _Connection | asyncio.Task[None] | None = None

    def carried_by(self, carrier: _Connection | asyncio.Task[None] | None) -> None:
        """A connection has it now, or a task that makes one; None when nobody waits for its answer any more."""
        self._carrier = carrier

    def give_up(self) -> None:
        """Wait no longer: the server sees that the connection ends."""
        carrier, self._carrier = self._carrier, None
        if isinstance(carrier, _Connection):
            carrier.give_up()
        elif carrier is not None:
            carrier.cancel()


class Answer:
    """An answer whose head has come. A Content-Length that framed its body is not among its headers.

    Its body is to be read (`whole`, `read` or `chunks`), or `abort` to be called.
    """

    __slots__ = ("_complete", "_connection", "_error", "_pieces", "_share", "_waiter", "_waiting", "headers", "status")

    def __init__(self, status: int, headers: Headers, connection: _Connection) -> None:
        self.status = status
        self.headers = headers
        self._connection = connection
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
        body, room = Body(limit), self._connection.room
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
            self._connection.drop("the answer was given up")
        self._pieces.clear()
        self._count(0)

    def retire(self) -> None:
        """It was no answer to what was asked: what comes next on its connection may be none either."""
        self._connection.retire()

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
            self._connection.taken()
        return pieces

    def _count(self, size: int) -> None:
        if self._share is not None:
            self._share.hold(size)
        elif size:
            self._share = Share(self._connection.room, size)

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


class RequestStart(NamedTuple):
    """The method of a request, and its head up to its Content-Length: the same for all that differ in their bodies."""

    method: str
    lines: bytes


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
        room: Room | None = None,
    ) -> None:
        self.room = room or Room(ROOM)
        self.idle_seconds = idle_seconds
        self._origin = origin
        self._connect_seconds = connect_seconds
        self._connections = connections
        self._ssl_context = ssl_context
        self._fixed = f"host: {origin.host_header}\r\naccept-encoding: identity\r\n".encode("latin-1")
        self._idle: dict[Hashable, list[_Connection]] = {}
        """Connections that wait, by whose they are. Whoever used his last the longest ago stands first."""
        self._every: set[_Connection] = set()
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
    ) -> Answer:
        """Send a request and wait for the head of its answer, for `head_seconds` at most.

        Raises Unreachable, Lost, and ValueError for what cannot be sent; Host, Content-Length, Accept-Encoding and
        what concerns the connection are added here and are not the caller's to send.
        """
        head = self.head(method, target, field_lines(headers, OURS))
        connection = self._kept(whose) or await self._connect(whose)
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        asking = Asking(_once(waiter.set_result, waiter), _once(waiter.set_exception, waiter))
        connection.begin(head, body, asking, head_seconds)
        try:
            return await waiter
        except asyncio.CancelledError:
            asking.give_up()
            if not waiter.cancelled() and waiter.exception() is None:
                # The answer came in the same moment; it may be complete, and the connection another's already.
                waiter.result().abort()
            raise

    def head(self, method: str, target: str, lines: Lines) -> RequestStart:
        """What the requests to a target begin with. Raises ValueError for what cannot be sent."""
        line = f"{method} {target} HTTP/1.1\r\n"
        if not _REQUEST_LINE.fullmatch(line):
            raise ValueError("the method or the target has characters that cannot be sent")
        return RequestStart(method, b"%b%b%b" % (line.encode("latin-1"), self._fixed, lines))

    def ask(self, head: RequestStart, body: bytes, asking: Asking, whose: Hashable) -> None:
        """Send a request without waiting: `asking` hears of its answer, perhaps before this returns of its failure."""
        connection = self._kept(whose)
        if connection is not None:
            connection.begin(head, body, asking, None)
            return
        task = tasks.start(self._connect_and_ask(head, body, asking, whose))
        asking.carried_by(task)
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

    def free(self, connection: _Connection) -> None:
        """It can be used again."""
        self._idle.setdefault(connection.whose, []).append(connection)

    def ended(self, connection: _Connection) -> None:
        """It will not be used any more."""
        self._every.discard(connection)
        if connection in (idle := self._idle.get(connection.whose, [])):
            idle.remove(connection)
            if not idle:
                del self._idle[connection.whose]

    def _kept(self, whose: Hashable) -> _Connection | None:
        while (idle := self._idle.get(whose)) is not None:
            connection = idle.pop()
            if not idle:
                del self._idle[whose]
            if connection.is_fresh():
                return connection
            connection.drop("it was idle for too long, or the server spoke unasked")
        return None

    async def _connect_and_ask(self, head: RequestStart, body: bytes, asking: Asking, whose: Hashable) -> None:
        try:
            connection = await self._connect(whose)
        except Unreachable as problem:
            asking.carried_by(None)
            asking.failed(problem)
        else:
            connection.begin(head, body, asking, None)

    async def _connect(self, whose: Hashable) -> _Connection:
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
                    lambda: _Connection(self, loop, whose),
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
        self._every.add(connection)
        if not connection.is_open():
            connection.drop("it ended at once")
            raise Unreachable("the connection ended at once")
        return connection


_REQUEST_LINE = re.compile(r"[A-Z]+ /[!-~]* HTTP/1\.1\r\n")
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
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


class _Connection(asyncio.Protocol):
    """One connection, which carries one request at a time, all of them of `whose` it is."""

    _transport: asyncio.Transport

    def __init__(self, client: HttpClient, loop: asyncio.AbstractEventLoop, whose: Hashable) -> None:
        self.whose = whose
        self.room = client.room
        self._unsent = Share(client.room)
        """What the server has not taken of a request, where that is much."""
        self._client = client
        self._loop = loop
        self._reader = MessageReader(HttpResponseParser, MAX_HEAD, MAX_FIELDS)
        self._deadline = Deadline(loop, self._too_late)
        self._known: Remembered[_Head] = Remembered()
        self._asking: Asking | None = None
        self._answer: Answer | None = None
        self._bodiless = False
        self._until_end = False
        self._reusable = False
        self._retired = False
        self._interim = 0
        self._paused = False
        self._open = True
        self._unread = select.poll()
        self._idle_seconds = client.idle_seconds
        self._fresh_until = 0.0

    def is_open(self) -> bool:
        return self._open and not self._client.closed and not self._transport.is_closing()

    def is_fresh(self) -> bool:
        """Whether the server still has it open and said nothing unasked, as far as can be known."""
        # The loop may not have come to what waits unread: its end, most likely, or an answer too many.
        return self.is_open() and self._loop.time() < self._fresh_until and not self._unread.poll(0)

    def begin(self, head: RequestStart, body: bytes, asking: Asking, seconds: float | None) -> None:
        """Send a request, whose answer is to begin within `seconds`."""
        method, lines = head
        self._bodiless = method == "HEAD"
        self._interim = 0
        self._asking = asking
        asking.carried_by(self)
        if len(body) > _JOINED:
            self._transport.writelines((b"%bcontent-length: %d\r\n\r\n" % (lines, len(body)), body))
        elif body or method in _WITH_BODY:
            self._transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (lines, len(body), body))
        else:
            self._transport.write(b"%b\r\n" % lines)
        if seconds is None:
            self._deadline.clear()
        else:
            self._deadline.set(seconds)

    def give_up(self) -> None:
        """Nobody waits for the answer any more."""
        self._asking = None
        self.drop("the request was given up")

    def retire(self) -> None:
        """Carry nothing beyond what it carries now."""
        if self._asking is None and self._answer is None:
            self.drop("its answers are not in step with what is asked")
        self._retired = True

    def taken(self) -> None:
        """What waited was taken."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def drop(self, why: str, kind: str = "lost") -> None:
        """End the connection, and with it what it carries."""
        if self._open:
            self._open = False
            self._deadline.stop()
            self._client.ended(self)
            self._transport.abort()
            self._unsent.hold(0)
            self._fail(why, kind)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses
        sock = transport.get_extra_info("socket")
        for level, option, value in KEEPALIVE:
            sock.setsockopt(level, option, value)
        self._unread.register(sock.fileno(), select.POLLIN)

    def pause_writing(self) -> None:
        if self._open:
            self._unsent.hold(self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._unsent.hold(0)

    def data_received(self, data: bytes) -> None:
        if not self._open:
            return
        asking, answer = self._asking, self._answer
        if asking is None and answer is None:
            self.drop("the server spoke unasked")
            return
        self._reader.feed(data)
        try:
            if answer is None:
                answer = self._read_head()
            if answer is not None:
                self._read_body(answer)
        except (BadMessage, Repeated) as error:
            self.drop(f"the answer cannot be read: {error}", "unreadable")
        if asking is not None and answer is not None:
            # Last, because whoever hears it may use this connection again. Most bodies have come with their heads.
            asking.answered(answer)

    def eof_received(self) -> None:
        if self._answer is not None and self._until_end:
            self._complete(self._answer)
        self.drop("the connection ended before the answer was complete")

    def connection_lost(self, error: Exception | None) -> None:
        self.drop("the connection broke before the answer was complete")

    # Reading.

    def _read_head(self) -> Answer | None:
        """Read the head that counts; None when it has not come."""
        while (data := self._reader.next_head()) is not None:
            known = None if self._bodiless else self._known.recall(data)
            if known is not None and (body := self._reader.take(known[1])) is not None:
                answer = self._begin(known[0])
                answer.came([body])
                return answer
            line = _STATUS_LINE.match(data)
            if not line:
                raise BadMessage(502, "it does not begin with a status line of HTTP/1.1")
            status = int(line[1])
            if status == 101:
                raise BadMessage(502, "it changes to another protocol, which was not asked for")
            headers = self._reader.read_head(data)
            if status >= 200:
                return self._begin(self._framed(data, status, headers))
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise BadMessage(502, "there are too many interim answers")
        return None

    def _framed(self, data: bytes, status: int, headers: Headers) -> _Head:
        """What a head says, and have the reader know where the body ends."""
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        if coding is not None and (coding.lower() != "chunked" or length is not None):
            raise BadMessage(502, "only chunked, alone, is understood as Transfer-Encoding")
        if length is not None and not _LENGTH.fullmatch(length):
            raise BadMessage(502, "its Content-Length is no number")
        if (keep_alive := headers.get("keep-alive")) is not None:
            self._obey(keep_alive)
        lives_on = self._reader.lives_on
        if self._bodiless or status in (204, 304):
            self._reader.set_bodiless()
        elif (headers.get("content-encoding") or "identity").lower() != "identity":
            raise BadMessage(502, "it has a Content-Encoding, though identity was asked for")
        elif length is not None:
            self._reader.set_length(int(length))
            head = _Head(status, headers.without("content-length"), lives_on, until_end=False)
            self._known.keep(data, head)
            return head
        else:
            self._reader.set_open()
            return _Head(status, headers, lives_on, until_end=coding is None)
        return _Head(status, headers, lives_on, until_end=False)

    def _begin(self, head: _Head) -> Answer:
        self._reusable, self._until_end = head.lives_on, head.until_end
        self._deadline.clear()
        answer = self._answer = Answer(head.status, head.headers, self)
        if self._asking is not None:
            self._asking.carried_by(None)
            self._asking = None
        return answer

    def _read_body(self, answer: Answer) -> None:
        pieces = self._reader.body()
        if pieces and not answer.came(pieces) and not self._paused and not self._reader.complete:
            self._paused = True
            self._transport.pause_reading()
        if self._reader.complete:
            self._complete(answer)

    def _complete(self, answer: Answer) -> None:
        self._answer = None
        answer.completed()
        # Bytes that follow the answer, or a request that was answered before it was all written: not to be used again.
        reusable = self._reusable and not self._retired
        if reusable and not self._reader.waiting and not self._transport.get_write_buffer_size():
            self.taken()
            self._deadline.set(self._idle_seconds)
            self._fresh_until = self._loop.time() + self._idle_seconds
            self._client.free(self)
        else:
            self.drop("the server ends it")

    def _obey(self, keep_alive: str) -> None:
        found = _TIMEOUT.search(keep_alive)
        if found:
            # Half of it: what we send has to arrive before the server's time is over.
            self._idle_seconds = min(self._client.idle_seconds, int(found[1]) / 2)

    def _too_late(self) -> None:
        if self._asking is not None:
            self.drop("no answer came in time", "timeout")
        else:
            self.drop("it was idle for too long")

    def _fail(self, why: str, kind: str) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.broke_off(why)
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.carried_by(None)
            asking.failed(Lost(why, kind))


class _Head(NamedTuple):
    """What the head of an answer says. `until_end` where the body ends with the connection."""

    status: int
    headers: Headers
    lives_on: bool
    until_end: bool


_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")
_LENGTH = re.compile(r"[0-9]{1,15}")
_TIMEOUT = re.compile(r"\btimeout=([0-9]{1,6})")
