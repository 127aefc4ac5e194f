"""The client's side of HTTP, on blocking sockets: one connection, or 32 with one call on each, kept for a whole turn.

Only as much of HTTP as the answer to a POST can be: with a length or in chunks, JSON or a stream of events.
"""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from time import monotonic, perf_counter_ns, sleep
from typing import Any, Final

from programs.bench.client import (
    IN_FLIGHT,
    REVISION,
    SECONDS,
    START_SECONDS,
    Client,
    as_line,
    check,
    is_answer,
    read_message,
)
from programs.bench.errors import Failed


class HttpClient(Client):
    """Speaks MCP to the endpoint /mcp on a port of loopback."""

    def __init__(self, port: int, always_new: bool, refusal: str = "") -> None:
        super().__init__(always_new, refusal=refusal)
        self._port = port
        self._session = b""

    def greet(self) -> None:
        wait_for_listener(self._port)
        super().greet()

    def ask(self, id_: int, message: dict[str, Any]) -> dict[str, Any]:
        for line in body_of(self._exchange(message)).splitlines():
            if is_answer(response := read_message(line), id_):
                return response
        raise Failed("a request got no response")

    def say(self, message: dict[str, Any]) -> None:
        self._exchange(message)

    def one_by_one(self, count: int) -> list[int]:
        ids, requests = self._requests(count)
        took, replies = [0] * count, [b""] * count
        with self._connections(1) as (connection,):
            for at, data in enumerate(requests):
                begun = perf_counter_ns()
                connection.send(data)
                reply = connection.reply()
                while reply is None:
                    reply = connection.reply()
                took[at] = perf_counter_ns() - begun
                replies[at] = reply
        for id_, reply in zip(ids, replies, strict=True):
            check([id_], body_of(reply), self.refusal)
        return took

    def in_flight(self, count: int) -> float:
        ids, requests = self._requests(count)
        waiting = iter(requests)
        replies: list[bytes] = []
        poll = select.poll()
        with self._connections(IN_FLIGHT) as connections:
            by_fd = {connection.fd: connection for connection in connections}
            for fd in by_fd:
                poll.register(fd, select.POLLIN)
            begun = perf_counter_ns()
            for connection, data in zip(connections, waiting, strict=False):
                connection.send(data)
            while len(replies) < count:
                ready = poll.poll(SECONDS * 1000)
                if not ready:
                    raise Failed(f"no reply within {SECONDS:g} s")
                for fd, _ in ready:
                    connection = by_fd[fd]
                    if (reply := connection.reply()) is not None:
                        replies.append(reply)
                        if (next_one := next(waiting, None)) is not None:
                            connection.send(next_one)
            nanoseconds = perf_counter_ns() - begun
        check(ids, b"\n".join(map(body_of, replies)), self.refusal)
        return count * 1e9 / nanoseconds

    def _requests(self, count: int) -> tuple[range, list[bytes]]:
        ids, lines = self.questions(count)
        return ids, [self._post(line[:-1]) for line in lines]

    def _post(self, body: bytes) -> bytes:
        return _POST % (self._port, self._session, len(body)) + body

    def _exchange(self, message: dict[str, Any]) -> bytes:
        with self._connections(1) as (connection,):
            connection.send(self._post(as_line(message)[:-1]))
            reply = connection.reply()
            while reply is None:
                reply = connection.reply()
        if found := _SESSION.search(reply[: reply.index(b"\r\n\r\n") + 2]):
            self._session = b"mcp-session-id: %b\r\nmcp-protocol-version: %b\r\n" % (found[1], REVISION.encode())
        return reply

    @contextmanager
    def _connections(self, count: int) -> Iterator[list[_Connection]]:
        """New ones for each turn: a server may end what is idle while others have theirs."""
        with ExitStack() as stack:
            try:
                yield [stack.enter_context(closing(_Connection(self._port, self._patience))) for _ in range(count)]
            except OSError as error:
                raise Failed(f"the connection failed: {error}") from None


def wait_for_listener(port: int) -> None:
    """Wait until somebody listens on a port of loopback. Raises `Failed`."""
    deadline = monotonic() + START_SECONDS
    while not _listens(port):
        if monotonic() > deadline:
            raise Failed(f"nobody listens on its port after {START_SECONDS:g} s")
        sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(SECONDS)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class _Connection:
    """One connection, at most one call on it; every wait is bounded."""

    def __init__(self, port: int, seconds: float) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self.fd = self._socket.fileno()
        self.send = self._socket.sendall
        self.close = self._socket.close

    def reply(self) -> bytes | None:
        """The answer as it came, once it is whole."""
        data = self._socket.recv(1 << 16)
        if not data:
            raise Failed("it ended a connection before it replied")
        self._data += data
        if not is_whole(self._data):
            return None
        reply, self._data = self._data, b""
        return reply


def is_whole(data: bytes) -> bool:
    """Whether an answer has come to its end; nothing follows it, because nothing more was asked."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return False
    if found := _LENGTH.search(data, 0, head + 2):
        return len(data) >= head + 4 + int(found[1])
    # JSON and events that hold it have no line that is just "0".
    return data.endswith(b"\r\n0\r\n\r\n") or data.startswith(b"HTTP/1.1 204")


def body_of(answer: bytes) -> bytes:
    """The messages in an answer, a line each. Raises `Failed` for any status that is no success."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not re.match(rb"HTTP/1\.1 20[0-9] ", head):
        raise Failed(f"it answered {head.splitlines()[0][:100]!r}: {body[:200]!r}")
    if not _LENGTH.search(head + b"\r\n"):
        body = _joined(body)
    if b"text/event-stream" in head.lower():
        return b"\n".join(
            line[5:].strip() for line in body.splitlines() if line.startswith(b"data:") and line[5:].strip()
        )
    return body


def _joined(chunks: bytes) -> bytes:
    body = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        if not (digits := re.match(rb"[0-9A-Fa-f]{1,8}", size)):
            raise Failed(f"a chunk has no size: {size[:20]!r}")
        length = int(digits[0], 16)
        body, chunks = body + rest[:length], rest[length + 2 :] if length else b""
    return body


_POST: Final = (
    b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n"
    b"accept: application/json, text/event-stream\r\n%bcontent-length: %d\r\n\r\n"
)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+) *\r\n", re.IGNORECASE)
_SESSION: Final = re.compile(rb"\r\nmcp-session-id: *([!-~]+) *\r\n", re.IGNORECASE)
