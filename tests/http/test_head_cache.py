"""A head that is known again says what reading it would say, whoever makes it up: the memory is held against reading.

The same bytes, cut in the same places, go to two connections: one as it is, and one that remembers nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http import server as servers
from sidecar.http.client import ClientResponse, PendingRequest, RequestStart
from sidecar.http.client_connection import ClientConnection
from sidecar.http.head_cache import HeadCache
from sidecar.http.server import Exchange, HttpServer, Limits
from sidecar.http.server_connection import ServerConnection
from sidecar.http.values import Headers, Request, Response
from sidecar.system.memory import MemoryBudget
from tests.support.fuzzing import examples

LIMITS = Limits(head=2 << 10, body=200)


class Pipe(asyncio.Transport):
    """The other end of a connection: it keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.sock = socket.socket()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else self.sock

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def writelines(self, list_of_data: Any) -> None:
        self.written += b"".join(list_of_data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Forgetful(HeadCache[Any]):
    """Remembers nothing."""

    def recall(self, head: bytes) -> None:
        return None


@contextmanager
def a_loop() -> Iterator[asyncio.AbstractEventLoop]:
    with closing(asyncio.new_event_loop()) as loop:
        yield loop


def settle(loop: asyncio.AbstractEventLoop) -> None:
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))


def fields(headers: Headers) -> list[tuple[str, str]]:
    return list(headers)


def authorization(headers: Headers) -> list[str]:
    return headers.all("authorization")


# Requests.


def served(pieces: Sequence[bytes], *, remembers: bool) -> tuple[list[Any], bytes, bool]:
    """What a handler sees of a connection on which these pieces come, what is answered, and whether it was ended."""
    seen: list[Any] = []

    def handle(request: Request, exchange: Exchange) -> None:
        # What is kept with a head has to be what could be worked out of it now.
        assert request.headers.once(fields) == fields(request.headers)
        assert request.headers.once(authorization) == authorization(request.headers)
        seen.append((request.method, request.path, request.query, fields(request.headers), request.body))
        exchange.send(Response(200))

    def admit(method: str, target: str, headers: Headers) -> Response | None:
        return Response(403) if "no" in headers.all("authorization") else None

    with a_loop() as loop:
        server = HttpServer(handle, LIMITS, admit, servers.report, MemoryBudget(1 << 20))
        connection = ServerConnection(server, loop)
        if not remembers:
            connection._heads = Forgetful()
        pipe = Pipe()
        with closing(pipe.sock):
            connection.connection_made(pipe)
            for piece in pieces:
                if not pipe.closed:
                    connection.data_received(piece)
                settle(loop)
            connection.connection_lost(None)
    return seen, pipe.written, pipe.closed


LENGTHS = st.one_of(
    st.integers(0, 30).map(str),
    st.sampled_from(
        ["007", "0", "00", "000000000000005", "0000000000000005", "+5", "-5", "5 0", "5,5", "0x5", "", "５"]
    ),
)
NAMES = st.sampled_from(["Content-Length", "content-length", "CONTENT-LENGTH", "Content-Length ", "X-Content-Length"])
LENGTH_LINES = st.builds(
    lambda name, before, length, after: f"{name}:{before}{length}{after}",
    NAMES, st.sampled_from(["", " ", "\t", " \t "]), LENGTHS, st.sampled_from(["", " ", "\t"]),
)  # fmt: skip
DECOYS = ("X: content-length: 5", "X-Content-Length: 5", "X:content-length:5", "Content-Length-X: 5", "X: 5")
OTHER_LINES = st.sampled_from(
    [
        "Content-Type: application/json", "Authorization: a", "Authorization: no", "Transfer-Encoding: chunked",
        "X: a\r\n\tb", "X: 1\r\n content-length: 5", "X:", "Expect: 100-continue",
        "Connection: close", "Connection: keep-alive", "Connection: content-length", "Upgrade: h2c", "Host: b",
        "Content-Encoding: gzip", "Content-Length", ": 5", "X: \xff", "Keep-Alive: timeout=5",
        "Trailer: Content-Length",
    ]
)  # fmt: skip
FIRST_LINES = st.sampled_from(
    ["POST /mcp HTTP/1.1", "POST /mcp?content-length:5 HTTP/1.1", "GET / HTTP/1.1", "HEAD / HTTP/1.1",
     "POST / HTTP/1.0"]
)  # fmt: skip
BODIES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"hello", b"12345678", b"5\r\nhello\r\n0\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n",
                     b"POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"]),
)  # fmt: skip


@st.composite
def messages(draw: st.DrawFn, first_lines: st.SearchStrategy[str], always: str) -> bytes:
    """A message that mostly says the truth about the length of its body, once."""
    body = draw(BODIES)
    lines = draw(st.lists(st.one_of(st.sampled_from(DECOYS), OTHER_LINES), max_size=2))
    length = f"Content-Length: {len(body)}" if draw(st.integers(0, 3)) else draw(LENGTH_LINES)
    lines.insert(draw(st.integers(0, len(lines))), length)
    if not draw(st.integers(0, 5)):
        lines.insert(draw(st.integers(0, len(lines))), draw(LENGTH_LINES))
    head = "\r\n".join([draw(first_lines), always, *lines, "", ""])
    return head.encode("latin-1", "replace") + body


@st.composite
def neighbours(draw: st.DrawFn, message: bytes) -> bytes:
    """The same message, or one that differs from it in as little as an adversary likes."""
    head, _, body = message.partition(b"\r\n\r\n")
    match draw(st.sampled_from(["same", "body", "zeros", "length", "edit", "cut", "insert", "line"])):
        case "same":
            return message
        case "body":
            # Another body with its length, everything else as it was.
            body = draw(BODIES)
            head = _with_length(head, str(len(body)).encode())
        case "zeros":
            head = _with_length(head, b"%0*d" % (draw(st.integers(13, 18)), len(body)))
        case "length":
            head = _with_length(head, draw(LENGTHS).encode("latin-1", "replace"))
        case "edit":
            at = draw(st.integers(0, max(0, len(head) - 1)))
            head = (
                head[:at] + draw(st.sampled_from([b"0", b"5", b" ", b"\t", b"X", b":", b"\r", b"\n"])) + head[at + 1 :]
            )
        case "cut":
            at = draw(st.integers(0, len(head)))
            head = head[:at] + head[at + draw(st.integers(1, 12)) :]
        case "insert":
            at = draw(st.integers(0, len(head)))
            head = head[:at] + draw(st.sampled_from([b"5", b"0", b" ", b"\r\n", b"\r\n5", b"\r\n "])) + head[at:]
        case _:
            lines = head.split(b"\r\n")
            extra = draw(st.one_of(LENGTH_LINES, OTHER_LINES)).encode("latin-1", "replace")
            lines.insert(draw(st.integers(1, len(lines))), extra)
            head = b"\r\n".join(lines)
    return head + b"\r\n\r\n" + body


def _with_length(head: bytes, length: bytes) -> bytes:
    name, _, _ = head.lower().partition(b"\r\ncontent-length:")
    start = len(name) + len(b"\r\ncontent-length:")
    end = head.find(b"\r\n", start)
    return head[:start] + b" " + length + (head[end:] if end >= 0 else b"") if start <= len(head) else head


@st.composite
def conversations(draw: st.DrawFn, first_lines: st.SearchStrategy[str], always: str) -> list[bytes]:
    """Messages of one side of a connection, most of them like the one before."""
    found = [draw(messages(first_lines, always))]
    for _ in range(draw(st.integers(1, 5))):
        fresh = not draw(st.integers(0, 4))
        found.append(draw(messages(first_lines, always) if fresh else neighbours(found[-1])))
    return found


@st.composite
def pieces(draw: st.DrawFn, whole: bytes) -> list[bytes]:
    """The same bytes, cut anywhere."""
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True) if end > start]


@pytest.mark.fuzz
@examples(300)
@given(st.data())
def test_a_request_whose_head_is_known_is_the_request_that_reading_gives(data: st.DataObject) -> None:
    said = data.draw(conversations(FIRST_LINES, "Host: a"))
    cut = said if data.draw(st.booleans()) else data.draw(pieces(b"".join(said)))
    assert served(cut, remembers=True) == served(cut, remembers=False)


@pytest.mark.parametrize("decoy", DECOYS)
@pytest.mark.parametrize("lines", ["{decoy}\r\n{length}", "{length}\r\n{decoy}", "{decoy}\r\n{length}\r\n{decoy}"])
def test_what_only_looks_like_a_length_is_none(decoy: str, lines: str) -> None:
    bodies = [b"hello, you", b"hello, you", b"x" * 123, b"", b"hello"]
    said = [
        f"POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n".format(
            decoy=decoy, length=f"Content-Length: {len(body)}"
        ).encode()
        + body
        for body in bodies
    ]
    seen, _, closed = served(said, remembers=True)
    assert ([request[-1] for request in seen], closed) == (bodies, False)
    answers = [message.replace(b"POST / HTTP/1.1\r\nHost: a", b"HTTP/1.1 200 OK\r\nServer: a") for message in said]
    found = heard([[answer] for answer in answers], remembers=True)
    assert [outcome[0][-1] for outcome in found[::2]] == bodies


def test_a_known_head_admits_nothing_to_a_server_that_stops() -> None:
    message = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    asked: list[str] = []

    def admit(method: str, target: str, headers: Headers) -> Response | None:
        asked.append(method)
        return Response(503) if server.stopping else None

    with a_loop() as loop:
        server = HttpServer(
            lambda request, exchange: exchange.send(Response(200)), LIMITS, admit, servers.report, MemoryBudget(1 << 20)
        )
        pipe, connection = Pipe(), ServerConnection(server, loop)
        with closing(pipe.sock):
            connection.connection_made(pipe)
            for _ in range(3):
                connection.data_received(message)
            assert asked == ["POST"]
            # A part of the next one has come, so the connection is not idle.
            connection.data_received(message[:10])
            server.stop_accepting()
            connection.data_received(message[10:])
            assert asked == ["POST", "POST"]
            assert [line for line in pipe.written.split(b"\r\n") if b"HTTP" in line][-1].split()[1] == b"503"
            connection.connection_lost(None)


# Answers.


def heard(said: Sequence[Sequence[bytes]], *, remembers: bool) -> list[Any]:
    """What becomes of requests on one connection, each answered by the pieces that are said, while it can be used."""
    found: list[Any] = []
    with a_loop() as loop:
        pool = Pool()
        connection = ClientConnection(pool, loop, None)
        if not remembers:
            connection._heads = Forgetful()
        pipe = Pipe()
        with closing(pipe.sock):
            connection.connection_made(pipe)
            for answer in said:
                if not connection.is_open():
                    break
                outcome: list[Any] = []
                take = answered(outcome)
                connection.begin(
                    RequestStart("POST", b"POST / HTTP/1.1\r\n"), b"x", PendingRequest(take, outcome.append), None
                )
                for piece in answer:
                    connection.data_received(piece)
                found.append([shown(one) for one in outcome])
                found.append((connection.is_open(), pool.freed, connection._idle_seconds))
                if not pool.freed:
                    break
                pool.freed = 0
            connection.drop("the test is over")
    return found


class Pool:
    """What a connection tells its client."""

    closed = False
    idle_seconds = 2.0
    room = MemoryBudget(1 << 20)

    def __init__(self) -> None:
        self.freed = 0

    def free(self, connection: Any) -> None:
        self.freed += 1

    def ended(self, connection: Any) -> None:
        pass


def answered(outcome: list[Any]) -> Callable[[ClientResponse], None]:
    return outcome.append


def shown(one: Any) -> Any:
    if not isinstance(one, ClientResponse):
        return str(one)
    assert one.headers.once(fields) == fields(one.headers)
    return one.status, fields(one.headers), one.whole(1000)


STATUS_LINES = st.sampled_from(
    ["HTTP/1.1 200 OK", "HTTP/1.1 202 Accepted", "HTTP/1.1 204 No Content", "HTTP/1.1 304 x", "HTTP/1.1 100 Continue",
     "HTTP/1.0 200 OK", "HTTP/1.1 200 content-length: 5"]
)  # fmt: skip


@pytest.mark.fuzz
@examples(300)
@given(st.data())
def test_an_answer_whose_head_is_known_is_the_answer_that_reading_gives(data: st.DataObject) -> None:
    said = data.draw(conversations(STATUS_LINES, "Content-Type: application/json"))
    cut = [[one] if data.draw(st.booleans()) else data.draw(pieces(one)) for one in said]
    assert heard(cut, remembers=True) == heard(cut, remembers=False)
