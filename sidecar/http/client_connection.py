"""One HTTP/1.1 connection to a server. It carries one request at a time, all of them of the one client `whose` it is.

Theory of operation. Nothing in HTTP/1.1 says which request a response is for: a server that answers once too often is
taken to have answered the next one. So what a connection is at has one name, its phase, and every byte that comes is
judged by it. The pool hands out a connection only while it is IDLE and fresh: still open, nothing unread on its socket,
not idle for longer than the server keeps it.

    IDLE --- begin ----> WAITING --- head of the response ---> BODY --- its end ---> IDLE, or CLOSED
                           |  ^                                |  ^
                           +--+ interim response (1xx)         |  | its reader took what waits, or its end came
                      too much of the body waits for its reader|  |
                                                               v  |
                                                              PAUSED
    whatever the phase --- drop ---> CLOSED

| what happens | IDLE | WAITING | BODY, PAUSED | CLOSED |
|---|---|---|---|---|
| bytes | drop: nothing was asked | the head, then as BODY | the body | ignored |
| end of the stream | drop | drop, the request is Lost | whole where nothing else frames it; drop | ignored |
| reset, or a deadline | drop | drop, the request is Lost | drop, the response breaks off | ignored |
| whoever asked gives up | - | drop, nobody is told | drop | ignored |
| `retire` | drop | CLOSED follows, not IDLE | CLOSED follows, not IDLE | ignored |

A connection is IDLE again only when the response was whole, nothing came after it, the request was all written, and
neither the server nor whoever read the response said that it was the last one.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Hashable
from enum import StrEnum
from typing import Final, NamedTuple, Protocol, cast

from httptools import HttpResponseParser

from sidecar.http.client_response import ClientResponse, Lost, PendingRequest
from sidecar.http.deadline import Deadline
from sidecar.http.head_cache import HeadCache
from sidecar.http.keepalive import KEEPALIVE
from sidecar.http.reader import BadMessage, MessageReader
from sidecar.http.values import Headers, Repeated
from sidecar.system.memory import MemoryBudget, Share

MAX_HEAD: Final = 32 << 10
MAX_FIELDS: Final = 256
MAX_INTERIM: Final = 8
"""Interim responses (1xx) before the one that counts."""
_JOINED: Final = 64 << 10
"""A body up to this length is written together with its head."""


class RequestStart(NamedTuple):
    """The method of a request, and its head up to its Content-Length: the same for all that differ in their bodies."""

    method: str
    lines: bytes


class Phase(StrEnum):
    """What a connection is at."""

    IDLE = "idle"
    """Nothing is asked."""
    WAITING = "waiting for a head"
    """A request was sent, and the head of its response has not come."""
    BODY = "reading a body"
    """The head was handed out, and the body comes."""
    PAUSED = "holding a body back"
    """As BODY, but so much of the body waits for its reader that nothing more is read."""
    CLOSED = "closed"


# Bound once: looking a member up in its class takes longer than a transition.
IDLE, WAITING, BODY, PAUSED, CLOSED = Phase

_MAY_FOLLOW: Final = {
    IDLE: (WAITING, CLOSED),
    WAITING: (BODY, CLOSED),
    BODY: (IDLE, PAUSED, CLOSED),
    PAUSED: (BODY, CLOSED),
    CLOSED: (),
}


class Pool(Protocol):
    """What a connection tells its client, and needs to know of it."""

    idle_seconds: float
    closed: bool
    room: MemoryBudget

    def free(self, connection: ClientConnection) -> None:
        """It can be used again."""

    def ended(self, connection: ClientConnection) -> None:
        """It will not be used any more."""


class ClientConnection(asyncio.Protocol):
    """The protocol that the event loop drives. See the theory of operation above."""

    _transport: asyncio.Transport
    _head: _Head
    """What the head of the response says, from BODY on."""

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop, whose: Hashable) -> None:
        self.whose = whose
        self.room = pool.room
        self._unsent = Share(pool.room)
        """What the server has not taken of a request, where that is much."""
        self._pool = pool
        self._loop = loop
        self._reader = MessageReader(HttpResponseParser, MAX_HEAD, MAX_FIELDS)
        self._deadline = Deadline(loop, self._too_late)
        self._heads: HeadCache[_Head] = HeadCache()
        self._unread = select.poll()
        self._idle_seconds = pool.idle_seconds
        self._fresh_until = 0.0
        self._phase = IDLE
        self._then = IDLE
        """The phase that follows the response: IDLE, or CLOSED once it is known to be the last one."""
        self._requests = 0
        self._method = ""
        self._interim = 0
        self._pending: PendingRequest | None = None
        """The request that waits for its head, in WAITING only."""
        self._response: ClientResponse | None = None
        """The response whose body comes, in BODY and PAUSED only."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._phase}, requests: {self._requests}>"

    # What the client asks for.

    def is_open(self) -> bool:
        return self._phase is not CLOSED and not self._pool.closed and not self._transport.is_closing()

    def is_fresh(self) -> bool:
        """Whether the server still has it open and said nothing unasked, as far as can be known."""
        # The loop may not have come to what waits unread: its end, most likely, or a response too many.
        return self.is_open() and self._loop.time() < self._fresh_until and not self._unread.poll(0)

    def begin(self, start: RequestStart, body: bytes, pending: PendingRequest, seconds: float | None) -> None:
        """Send a request, whose response is to begin within `seconds`."""
        self._enter(WAITING)
        method, lines = start
        self._requests += 1
        self._method = method
        self._interim = 0
        self._pending = pending
        pending.carried_by(self)
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

    # What a request or a response asks for.

    def cancel(self) -> None:
        """Nobody waits for the response any more."""
        self._pending = None
        self.drop("the request was given up")

    def retire(self) -> None:
        """Carry nothing beyond what it carries now."""
        self._then = CLOSED
        if self._phase is IDLE:
            self.drop("its answers are not in step with what is asked")

    def taken(self) -> None:
        """What waited was taken."""
        if self._phase is PAUSED:
            self._enter(BODY)
            self._transport.resume_reading()

    def drop(self, why: str, kind: str = "lost") -> None:
        """End the connection, and with it what it carries."""
        if self._phase is not CLOSED:
            self._enter(CLOSED)
            self._deadline.stop()
            self._pool.ended(self)
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
        if self._phase is not Phase.CLOSED:
            self._unsent.hold(self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._unsent.hold(0)

    def data_received(self, data: bytes) -> None:
        pending, response = self._pending, self._response
        if pending is None and response is None:
            self.drop("the server spoke unasked")  # or it is closed already
            return
        self._reader.feed(data)
        try:
            if response is None:
                response = self._read_head()
            if response is not None:
                self._read_body(response)
        except (BadMessage, Repeated) as error:
            self.drop(f"the answer cannot be read: {error}", "unreadable")
        if pending is not None and response is not None:
            # Last, because whoever hears it may use this connection again. Most bodies have come with their heads.
            pending.answered(response)

    def eof_received(self) -> None:
        if self._response is not None and self._head.until_end:
            self._complete(self._response)
        self.drop("the connection ended before the answer was complete")

    def connection_lost(self, error: Exception | None) -> None:
        self.drop("the connection broke before the answer was complete")

    # Reading.

    def _read_head(self) -> ClientResponse | None:
        """Read the head that counts; None when it has not come."""
        while (data := self._reader.next_head()) is not None:
            known = None if self._method == "HEAD" else self._heads.recall(data)
            if known is not None and (body := self._reader.take(known[1])) is not None:
                response = self._respond(known[0])
                response.came([body])
                return response
            line = _STATUS_LINE.match(data)
            if not line:
                raise BadMessage(502, "it does not begin with a status line of HTTP/1.1")
            status = int(line[1])
            if status == 101:
                raise BadMessage(502, "it changes to another protocol, which was not asked for")
            headers = self._reader.read_head(data)
            if status >= 200:
                return self._respond(self._framed(data, status, headers))
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
        if self._method == "HEAD" or status in (204, 304):
            self._reader.set_bodiless()
        elif (headers.get("content-encoding") or "identity").lower() != "identity":
            raise BadMessage(502, "it has a Content-Encoding, though identity was asked for")
        elif length is not None:
            self._reader.set_length(int(length))
            head = _Head(status, headers.without("content-length"), lives_on, until_end=False)
            self._heads.keep(data, head)
            return head
        else:
            self._reader.set_open()
            return _Head(status, headers, lives_on, until_end=coding is None)
        return _Head(status, headers, lives_on, until_end=False)

    def _respond(self, head: _Head) -> ClientResponse:
        """The head that counts has come."""
        self._enter(BODY)
        self._head = head
        if not head.lives_on:
            self._then = CLOSED
        self._deadline.clear()
        response = self._response = ClientResponse(head.status, head.headers, self)
        pending, self._pending = self._pending, None
        assert pending is not None  # it waits for this
        pending.carried_by(None)
        return response

    def _read_body(self, response: ClientResponse) -> None:
        reader = self._reader
        if not reader.complete:
            pieces = reader.body()
            if pieces and not response.came(pieces) and self._phase is BODY and not reader.complete:
                self._enter(PAUSED)
                self._transport.pause_reading()
        if reader.complete:
            self._complete(response)

    # Moving on.

    def _enter(self, phase: Phase) -> None:
        assert phase in _MAY_FOLLOW[self._phase], f"{self!r} cannot become {phase}"
        self._phase = phase

    def _complete(self, response: ClientResponse) -> None:
        """The response is whole."""
        self._response = None
        response.completed()
        # Bytes that follow the answer, or a request that was answered before it was all written: not to be used again.
        if self._then is IDLE and not self._reader.waiting and not self._transport.get_write_buffer_size():
            self.taken()
            self._enter(IDLE)
            self._deadline.set(self._idle_seconds)
            self._fresh_until = self._loop.time() + self._idle_seconds
            self._pool.free(self)
        else:
            self.drop("the server ends it")

    def _obey(self, keep_alive: str) -> None:
        found = _TIMEOUT.search(keep_alive)
        if found:
            # Half of it: what we send has to arrive before the server's time is over.
            self._idle_seconds = min(self._pool.idle_seconds, int(found[1]) / 2)

    def _too_late(self) -> None:
        if self._phase is WAITING:
            self.drop("no answer came in time", "timeout")
        else:
            self.drop("it was idle for too long")

    def _fail(self, why: str, kind: str) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.broke_off(why)
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.carried_by(None)
            pending.failed(Lost(why, kind))


class _Head(NamedTuple):
    """What the head of a response says. `until_end` where the body ends with the connection."""

    status: int
    headers: Headers
    lives_on: bool
    until_end: bool


_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")
_LENGTH = re.compile(r"[0-9]{1,15}")
_TIMEOUT = re.compile(r"\btimeout=([0-9]{1,6})", re.IGNORECASE)
