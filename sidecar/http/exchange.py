"""One request's answer: a whole one, or a streamed one, and whether the client is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

from sidecar.http.values import Lines, Response, TurnedAway, field_lines


class Gone(ConnectionError):
    """The client went away before its answer was complete."""


class Outlet(Protocol):
    """What an exchange needs of its connection."""

    full: bool
    """The client does not keep up with what is written."""

    def write(self, head: bytes, body: bytes = b"") -> None:
        """Write bytes."""

    async def room(self) -> None:
        """Wait until the client keeps up again, or is gone."""

    def answered(self, *, closes: bool) -> None:
        """The answer is complete. With `closes` the connection has to end."""

    def abort(self) -> None:
        """Break the connection."""

    def soon(self, callback: Callable[[], object]) -> None:
        """Have something called by the event loop."""

    def is_last(self) -> bool:
        """Whether the connection ends after this answer."""

    def run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what answers an exchange as a task of the server's."""

    def failed(self, exchange: Exchange, error: Exception) -> None:
        """Something went wrong while an exchange was answered."""

    def let_go(self, exchange: Exchange) -> None:
        """Nothing of its request is held any more."""

    def turned_away(self, refusal: TurnedAway) -> None:
        """A request is refused by this answer: let it be known."""


class Exchange:
    """One request's answer: a whole one (`send`), or a streamed one (`start`, `write`, `end`)."""

    __slots__ = (
        "_callbacks", "_chunked", "_finished", "_head_only", "_kept", "_outlet", "_started", "_version_10", "gone",
    )  # fmt: skip

    def __init__(self, outlet: Outlet, *, head_only: bool, version_10: bool) -> None:
        self._outlet = outlet
        self._head_only = head_only
        self._version_10 = version_10
        self._started = self._finished = self._chunked = self._kept = False
        self._callbacks: tuple[Callable[[], object], ...] = ()
        self.gone = False

    def send(self, response: Response) -> None:
        """The whole answer. Nothing happens when the client is gone. Raises ValueError for odd headers."""
        closes = self._outlet.is_last()
        head, body = answer_bytes(response, closes=closes, head_only=self._head_only)
        self._claim()
        if type(response) is TurnedAway:
            self._outlet.turned_away(response)
        if not self.gone:
            self._outlet.write(head, body)
            self._finish(closes)

    def start(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Begin a streamed answer. Raises ValueError for headers that cannot be sent."""
        bodiless = status in _BODILESS
        # HTTP/1.0 knows no chunks: such an answer ends with its connection.
        chunked = not self._version_10 and not bodiless
        framing = b"transfer-encoding: chunked\r\n\r\n" if chunked else b"\r\n"
        lines = answer_lines(headers)
        head = _head(status, lines, closes=self._version_10 or self._outlet.is_last()) + framing
        self._claim()
        self._head_only = self._head_only or bodiless
        self._chunked = chunked
        if not self.gone:
            self._outlet.write(head)

    async def write(self, data: bytes) -> None:
        """One chunk; waits while the client does not keep up. Raises Gone."""
        self.write_now(data)
        if self._outlet.full:
            await self._outlet.room()
        if self.gone:
            raise Gone

    def write_now(self, data: bytes) -> None:
        """One chunk without waiting, for small ones that come seldom. Raises Gone."""
        if self.gone:
            raise Gone
        self._check_open()
        if data and not self._head_only:
            self._outlet.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        """The streamed answer is complete. Nothing happens when the client is gone."""
        if self.gone:
            return
        self._check_open()
        if self._chunked and not self._head_only:
            self._outlet.write(b"0\r\n\r\n")
        self._finish(self._version_10 or self._outlet.is_last())

    def abort(self) -> None:
        """Break the connection: the client must not take what it has for a whole answer."""
        if not self._finished and not self.gone:
            self._finished = self.gone = True
            self._outlet.abort()

    def on_gone(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once if the client goes away before the answer is complete, or has gone already."""
        if self.gone:
            self._outlet.soon(callback)
        else:
            self._callbacks += (callback,)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have the request answered by `work`, which waits for something: a task that ends with the server."""
        return self._outlet.run(self, work)

    def let_go(self) -> None:
        """What the request said is held nowhere any more, though its answer is waited for."""
        self._outlet.let_go(self)

    @property
    def is_over(self) -> bool:
        """True when it is answered, or nobody is there any more."""
        return self._finished or self.gone

    def keep(self) -> None:
        """It will be answered when something calls back: until then the end of its handler says nothing."""
        self._kept = True

    def failed(self, error: Exception) -> None:
        """Something went wrong: this request ends here, with whatever it was answered so far."""
        self._kept = False
        self._outlet.failed(self, error)

    def client_left(self) -> None:
        """The connection's word that nobody is there any more."""
        if not self.gone and not self._finished:
            self.gone = True
            for callback in self._callbacks:
                self._outlet.soon(callback)

    def handler_left(self) -> None:
        """The server's word that the handler has ended: what it did not complete never will be."""
        if self._kept:
            return
        if self._started:
            self.abort()
        elif not self.gone:
            self.send(text(500, "something went wrong here"))

    def _claim(self) -> None:
        if self._started:
            raise RuntimeError("the request was answered already")
        self._started = True

    def _check_open(self) -> None:
        if not self._started or self._finished:
            raise RuntimeError("no streamed answer is open")

    def _finish(self, closes: bool) -> None:
        self._finished = True
        self._callbacks = ()
        self._outlet.answered(closes=closes)


def text(status: int, line: str) -> Response:
    """A short answer for people."""
    return Response(status, (("content-type", "text/plain; charset=utf-8"),), f"{line}\n".encode())


def turned_away(status: int, line: str, reason: str, *headers: tuple[str, str]) -> TurnedAway:
    """The same for a request that is refused for a reason."""
    plain = text(status, line)
    return TurnedAway(status, (*cast("tuple[tuple[str, str], ...]", plain.headers), *headers), plain.body, reason, line)


def answer_lines(headers: Sequence[tuple[str, str]]) -> Lines:
    """The headers of an answer as they stand in its head. Raises ValueError for headers that cannot be sent."""
    return field_lines(headers, _OURS)


def answer_bytes(response: Response, *, closes: bool, head_only: bool) -> tuple[bytes, bytes]:
    """The head and the body of a whole answer. Raises ValueError for headers that cannot be sent."""
    headers = response.headers
    lines = answer_lines(headers) if isinstance(headers, tuple) else headers
    head = _head(response.status, lines, closes=closes)
    if response.status in _BODILESS:
        return head + b"\r\n", b""
    body = response.body
    return b"%bcontent-length: %d\r\n\r\n" % (head, len(body)), b"" if head_only else body


_BODILESS: Final = frozenset({204, 304})
_OURS: Final = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive", "upgrade", "trailer"})


def _head(status: int, lines: Lines, *, closes: bool) -> bytes:
    return b"%b%b%b" % (_status_line(status), lines, _CLOSES if closes else b"")


_CLOSES = b"connection: close\r\n"


@cache
def _status_line(status: int) -> bytes:
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is no status of an answer")
    known = status in HTTPStatus.__members__.values()
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase if known else ''}\r\n".encode()
