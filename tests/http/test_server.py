"""The server: how requests reach the handler, how answers reach the client, and what ends a connection."""

from __future__ import annotations

import asyncio
import dataclasses
import tracemalloc
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop

from sidecar.http.server import Exchange, Gone, HttpServer, Limits
from sidecar.http.values import Headers, Request, Response
from sidecar.system.lines import TooLong
from sidecar.system.memory import WEIGHT, MemoryBudget
from tests.engine.asking import soon
from tests.http.serving import SHORT, defects, echo, serving, wire

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(body: bytes, *lines: bytes) -> bytes:
    head = b"".join((b"POST / HTTP/1.1\r\nHost: a\r\n", *lines))
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Handler:
    """Keeps what it was asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.exchanges: list[Exchange] = []
        self.go_on = asyncio.Event()

    async def __call__(self, request: Request, exchange: Exchange) -> None:
        self.requests.append(request)
        self.exchanges.append(exchange)
        await self.go_on.wait()
        exchange.send(Response(200, body=request.path.encode()))


def noting(seen: list[Request]) -> Callable[[Request, Exchange], Coroutine[Any, Any, None]]:
    """A handler that notes each request and has nothing to say to it."""

    async def handler(request: Request, exchange: Exchange) -> None:
        seen.append(request)
        exchange.send(Response(204))

    return handler


# Requests


def test_a_request_arrives_as_it_was_sent() -> None:
    async def test() -> None:
        seen: list[Request] = []
        async with serving(noting(seen)) as server, wire(server.port) as client:
            client.send(b"POST /a%2Fb/../c?d=%20e&f HTTP/1.1\r\nHost: h:1\r\nX-A:  b \t\r\nx-a: \xe4\r\n"
                        b"X-Empty:\r\nContent-Length: 2\r\n\r\n{}")  # fmt: skip
            assert (await client.answer())[0] == 204
        (request,) = seen
        assert (request.method, request.path, request.query) == ("POST", "/a%2Fb/../c", "d=%20e&f")
        assert request.body == b"{}"
        assert list(request.headers) == [
            ("host", "h:1"), ("x-a", "b"), ("x-a", "ä"), ("x-empty", "")
        ]  # fmt: skip

    uvloop.run(test())


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_a_request_is_the_same_however_its_bytes_are_cut(step: int) -> None:
    chunks = b"3;a=b\r\nabc\r\n6\r\n\r\n\r\n\r\n\r\n00\r\nX-Trailer: y\r\n\r\n"
    sent = post(b"12345") + CHUNKED + chunks + post(b"") + CHUNKED + b"0\r\n\r\n" + LAST

    async def test() -> None:
        seen: list[bytes | TooLong] = []

        async def handler(request: Request, exchange: Exchange) -> None:
            seen.append(request.body)
            exchange.send(Response(204))

        async with serving(handler) as server, wire(server.port) as client:
            for at in range(0, len(sent), step):
                client.send(sent[at : at + step])
                await asyncio.sleep(0)
            await client.rest()
        assert seen == [b"12345", b"abc\r\n\r\n\r\n", b"", b"", b""]

    uvloop.run(test())


def test_an_upgrade_is_ignored_and_the_body_is_the_requests() -> None:
    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            wish = (b"Connection: Upgrade, HTTP2-Settings\r\n", b"Upgrade: h2c\r\n", b"HTTP2-Settings: AAMAAABk\r\n")
            client.send(post(b"GET / HTTP/1.1\r\n\r\n", *wish) + post(b"b", b"uPGRADE: websocket\r\n"))
            status, headers, body = await client.answer()
            assert (status, "upgrade" in headers) == (200, False)
            assert body.endswith(rb"b'GET / HTTP/1.1\r\n\r\n'")
            assert (await client.answer())[2].endswith(b"b'b'")

    uvloop.run(test())


def test_requests_sent_at_once_are_answered_in_order_and_one_at_a_time() -> None:
    async def test() -> None:
        handler = Handler()
        async with serving(handler) as server, wire(server.port) as client:
            client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(50)))
            await soon(lambda: handler.requests)
            await asyncio.sleep(0)
            assert (len(handler.requests), server.active) == (1, 1)
            handler.go_on.set()
            assert [(await client.answer())[2] for _ in range(50)] == [b"/%d" % number for number in range(50)]

    uvloop.run(test())


def test_while_a_request_is_answered_only_so_much_of_the_next_is_taken() -> None:
    async def test() -> None:
        handler = Handler()
        async with serving(handler) as server, wire(server.port) as client:
            client.send(GET)
            await soon(lambda: handler.requests)
            client.send(post(b"x" * 16_000_000))
            # What the kernel's buffers do not hold stays with the client.
            await soon(lambda: next(iter(server._connections))._paused)
            handler.go_on.set()
            assert (await client.answer())[2] == b"/"
            assert (await client.answer())[2] == b"/"
            assert [len(request.body) for request in handler.requests if isinstance(request.body, bytes)] == [
                0,
                16_000_000,
            ]

    uvloop.run(test())


def test_a_client_that_expects_it_is_told_to_go_on_when_its_body_is_wanted() -> None:
    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(b"ab")
            assert (await client.answer())[2].endswith(b"b'ab'")

    uvloop.run(test())


def refuse(method: str, target: str, headers: Headers) -> Response | None:
    """Refuses what carries a mark."""
    return Response(403, body=f"{method} {target}".encode()) if headers.get("x-mark") else None


def test_a_request_that_is_not_admitted_is_answered_before_its_body_comes() -> None:
    async def test() -> None:
        async with serving(admit=refuse) as server, wire(server.port) as client:
            client.send(
                b"POST /a?b HTTP/1.1\r\nHost: a\r\nX-Mark: 1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
            )
            status, headers, body = await client.answer()
            assert (status, headers["connection"], body) == (403, "close", b"POST /a?b")
            assert await client.rest() == b""

    uvloop.run(test())


def test_after_a_refused_request_without_a_body_the_connection_lives_on() -> None:
    async def test() -> None:
        async with serving(admit=refuse) as server, wire(server.port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Mark: 1\r\n\r\n" * 3 + GET)
            assert [(await client.answer())[0] for _ in range(4)] == [403, 403, 403, 200]

    uvloop.run(test())


def test_a_defect_of_the_one_who_admits_is_reported_and_refuses() -> None:
    def broken(method: str, target: str, headers: Headers) -> Response | None:
        raise LookupError("a defect")

    async def test() -> None:
        asked: list[Request] = []

        async def handler(request: Request, exchange: Exchange) -> None:
            asked.append(request)

        server = await HttpServer.start("127.0.0.1", 0, handler, admit=broken)
        found = defects()
        async with wire(server.port) as client:
            client.send(GET)
            assert b"LookupError" not in await client.rest()
        await server.close(0)
        assert isinstance(found[0]["exception"], LookupError)
        assert not asked

    uvloop.run(test())


def test_a_head_that_comes_again_means_the_same_whatever_the_length_of_its_body() -> None:
    async def test() -> None:
        seen: list[Request] = []
        async with serving(noting(seen)) as server, wire(server.port) as client:
            for body in (b"a", b"", b"x" * 100_000, b"12"):
                client.send(post(body, b"X-A: b\r\n"))
                await client.answer()
            client.send(post(b"a", b"X-A: c\r\n"))
            await client.answer()
        assert [request.body for request in seen] == [b"a", b"", b"x" * 100_000, b"12", b"a"]
        assert [request.headers.get("x-a") for request in seen] == ["b", "b", "b", "b", "c"]

    uvloop.run(test())


@pytest.mark.parametrize("length", [b"", b"+1", b"1 1", b"0x1", b"1,1", b"\xb9", b"1\r\nContent-Length: 1", b"0" * 16])
def test_a_head_that_is_like_the_last_but_has_no_good_length_is_refused(length: bytes) -> None:
    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            client.send(post(b"a"))
            assert (await client.answer())[0] == 200
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\na" % length)
            assert (await client.answer())[0] == 400

    uvloop.run(test())


def test_a_handler_may_answer_at_once_or_when_something_calls_back() -> None:
    async def test() -> None:
        waiting: list[Exchange] = []

        def handler(request: Request, exchange: Exchange) -> None:
            if request.path == "/later":
                exchange.keep()
                waiting.append(exchange)
            else:
                exchange.send(Response(200, (), b"now"))

        async with serving(handler) as server, wire(server.port) as client:
            client.send(post(b"a") * 3)
            assert [(await client.answer())[2] for _ in range(3)] == [b"now"] * 3
            client.send(post(b"a").replace(b"/ ", b"/later ", 1))
            await soon(lambda: waiting)
            assert (server.active, server.room.taken) == (1, WEIGHT)
            waiting[0].send(Response(200, (), b"later"))
            assert (await client.answer())[2] == b"later"
            assert (server.active, server.room.taken) == (0, 0)
            client.send(post(b"a").replace(b"/ ", b"/later ", 1))
            await soon(lambda: len(waiting) == 2)
            client.writer.close()
            await soon(lambda: server.active == server.room.taken == 0)
            assert waiting[1].gone

    uvloop.run(test())


def test_a_task_may_hand_over_to_another() -> None:
    async def test() -> None:
        go_on = asyncio.Event()

        async def second(exchange: Exchange) -> None:
            await go_on.wait()
            exchange.send(Response(200, (), b"second"))

        async def first(request: Request, exchange: Exchange) -> None:
            exchange.keep()
            exchange.run(second(exchange))
            asyncio.get_running_loop().call_later(0, go_on.set)

        async with serving(first) as server, wire(server.port) as client:
            client.send(post(b"a") * 2)
            assert [(await client.answer())[2] for _ in range(2)] == [b"second"] * 2

    uvloop.run(test())


def test_a_handler_that_fails_at_once_is_reported_and_refuses() -> None:
    def broken(request: Request, exchange: Exchange) -> None:
        raise LookupError("a defect")

    async def test() -> None:
        server = await HttpServer.start("127.0.0.1", 0, broken)
        found = defects()
        async with wire(server.port) as client:
            client.send(GET)
            assert (await client.answer())[0] == 500
        await server.close(0)
        assert isinstance(found[0]["exception"], LookupError)

    uvloop.run(test())


# Bodies


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_thrown_away_but_for_its_ends_and_the_connection_lives_on(chunked: bool) -> None:
    body = b"a" * 2000 + b"b" * 2000

    async def test() -> None:
        handler = Handler()
        handler.go_on.set()
        async with serving(handler, Limits(body=3999)) as server, wire(server.port) as client:
            chunks = b"".join(b"fa\r\n%b\r\n" % body[at : at + 250] for at in range(0, 4000, 250))
            client.send((CHUNKED + chunks + b"0\r\n\r\n" if chunked else post(body)) + GET)
            assert (await client.answer())[0] == 200
            assert (await client.answer())[0] == 200
            assert handler.requests[0].body == TooLong(b"a" * 1024, b"b" * 1024, 3999)

    uvloop.run(test())


def test_a_body_of_just_the_limit_is_whole() -> None:
    async def test() -> None:
        async with serving(limits=Limits(body=5)) as server, wire(server.port) as client:
            client.send(post(b"hello"))
            assert (await client.answer())[2].endswith(b"b'hello'")

    uvloop.run(test())


@pytest.mark.parametrize("request_", [post(b"x" * 401), CHUNKED + b"191\r\n" + b"x" * 401])
def test_a_body_beyond_all_measure_is_not_read_to_its_end(request_: bytes) -> None:
    async def test() -> None:
        async with serving(limits=Limits(body=100)) as server, wire(server.port) as client:
            client.send(request_)
            status, headers, _ = await client.answer()
            assert (status, headers["connection"]) == (413, "close")

    uvloop.run(test())


def test_all_bodies_together_are_bounded_and_room_is_given_back() -> None:
    async def test() -> None:
        handler = Handler()
        async with serving(handler, Limits(body=100_000), room=MemoryBudget(600_000)) as server:
            async with wire(server.port) as first, wire(server.port) as second:
                first.send(post(b"x" * 100_000))
                await soon(lambda: handler.requests)
                second.send(post(b"x" * 100_000))
                status, headers, _ = await second.answer()
                assert (status, headers["connection"]) == (503, "close")
                handler.go_on.set()
                assert (await first.answer())[0] == 200
            async with wire(server.port) as third:
                third.send(post(b"x" * 100_000))
                assert (await third.answer())[0] == 200

    uvloop.run(test())


def test_a_client_that_leaves_within_its_body_gives_back_the_room() -> None:
    async def test() -> None:
        async with serving() as server:
            async with wire(server.port) as client:
                client.send(post(b"x" * 100)[:-50])
                await soon(lambda: server.room.taken == 50)
            await soon(lambda: server.room.taken == 0)

    uvloop.run(test())


# Answers


@pytest.mark.parametrize("status", [200, 202, 404, 503, 299])
def test_an_answer_has_its_length(status: int) -> None:
    async def test() -> None:
        async def handler(request: Request, exchange: Exchange) -> None:
            exchange.send(
                Response(status, (("X-Ä", "b"), ("x-b", "")) if request.path == "/odd" else (("X-A", "ü"),), b"abc")
            )

        async with serving(handler) as server, wire(server.port) as client:
            client.send(GET)
            assert await client.answer() == (status, {"X-A": "ü", "content-length": "3"}, b"abc")

    uvloop.run(test())


@pytest.mark.parametrize(
    ("request_", "status", "length"),
    [(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200, b"content-length: 3\r\n"), (GET, 204, b""), (GET, 304, b"")],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_may_have_no_body_has_none(request_: bytes, status: int, length: bytes, streamed: bool) -> None:
    async def handler(request: Request, exchange: Exchange) -> None:
        if request.path == "/last":
            exchange.send(Response(200))
        elif streamed:
            exchange.start(status, ())
            await exchange.write(b"abc")
            exchange.end()
        else:
            exchange.send(Response(status, (), b"abc"))

    async def test() -> None:
        async with serving(handler) as server, wire(server.port) as client:
            client.send(request_ + LAST)
            head, _, rest = (await client.rest()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert streamed or (length in head + b"\r\n")
            assert (b"content-length" in head) is (bool(length) and not streamed)
            assert rest.startswith(b"HTTP/1.1 200 OK")

    uvloop.run(test())


async def three(request: Request, exchange: Exchange) -> None:
    """A streamed answer of three chunks."""
    exchange.start(200, (("content-type", "text/event-stream"),))
    await exchange.write(b"one")
    await exchange.write(b"")
    exchange.write_now(b"two")
    await exchange.write(b"x" * 20)
    exchange.end()


def test_a_streamed_answer_comes_in_chunks_and_the_connection_lives_on() -> None:
    async def test() -> None:
        async with serving(three) as server, wire(server.port) as client:
            for _ in range(2):
                client.send(GET)
                head = await client.until(b"\r\n\r\n")
                assert b"transfer-encoding: chunked" in head
                assert b"content-length" not in head
                expected = b"3\r\none\r\n3\r\ntwo\r\n14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"
                assert await client.exactly(len(expected)) == expected

    uvloop.run(test())


def test_a_streamed_answer_on_http_1_0_ends_with_the_connection() -> None:
    async def test() -> None:
        async with serving(three) as server, wire(server.port) as client:
            client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head, _, body = (await client.rest()).partition(b"\r\n\r\n")
            assert b"connection: close" in head
            assert b"chunked" not in head
            assert body == b"onetwo" + b"x" * 20

    uvloop.run(test())


def test_a_client_that_asks_for_it_gets_the_end_of_the_connection() -> None:
    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            client.send(LAST)
            assert (await client.answer())[1]["connection"] == "close"
            assert await client.rest() == b""

    uvloop.run(test())


@pytest.mark.parametrize(
    "headers",
    [
        (("x", "a\r\ny: b"),), (("x", "a\nb"),), (("x", "a\rb"),), (("x", "a\0"),), (("x", "€"),), (("x\r\ny", "a"),),
        (("x: y", "a"),), (("", "a"),), (("x y", "a"),), (("content-length", "3"),), (("Transfer-Encoding", "x"),),
        (("Connection", "close"),),
    ],
)  # fmt: skip
@pytest.mark.parametrize("streamed", [False, True])
def test_headers_that_would_break_an_answer_are_never_sent(headers: Any, streamed: bool) -> None:
    async def handler(request: Request, exchange: Exchange) -> None:
        with pytest.raises(ValueError, match="header"):
            exchange.start(200, headers) if streamed else exchange.send(Response(200, headers))
        exchange.send(Response(200))

    async def test() -> None:
        async with serving(handler) as server, wire(server.port) as client:
            client.send(GET)
            assert (await client.answer())[1] == {"content-length": "0"}

    uvloop.run(test())


@pytest.mark.parametrize("started", [False, True])
def test_a_defect_of_the_handler_is_reported_and_the_client_learns_only_that_there_was_one(started: bool) -> None:
    async def handler(request: Request, exchange: Exchange) -> None:
        if started:
            exchange.start(200, ())
            await exchange.write(b"half")
        raise LookupError("a defect")

    async def test() -> None:
        server = await HttpServer.start("127.0.0.1", 0, handler)
        found = defects()
        async with wire(server.port) as client:
            client.send(GET)
            if started:
                assert not (await client.until_broken()).endswith(b"0\r\n\r\n")
            else:
                status, _, body = await client.answer()
                assert (status, b"defect" in body) == (500, False)
        await server.close(0)
        assert [type(context["exception"]) for context in found] == [LookupError]

    uvloop.run(test())


def test_a_handler_that_answers_nothing_is_answered_for() -> None:
    async def handler(request: Request, exchange: Exchange) -> None:
        return

    async def test() -> None:
        async with serving(handler) as server, wire(server.port) as client:
            client.send(GET + GET)
            assert [(await client.answer())[0] for _ in range(2)] == [500, 500]

    uvloop.run(test())


def test_an_answer_cannot_be_given_twice() -> None:
    async def handler(request: Request, exchange: Exchange) -> None:
        exchange.send(Response(200))
        with pytest.raises(RuntimeError, match="already"):
            exchange.send(Response(200))
        with pytest.raises(RuntimeError, match="no streamed answer"):
            exchange.write_now(b"x")

    async def test() -> None:
        async with serving(handler) as server, wire(server.port) as client:
            client.send(GET + LAST)
            assert (await client.rest()).count(b"HTTP/1.1 200 OK") == 2

    uvloop.run(test())


def test_an_answer_that_is_aborted_does_not_look_complete() -> None:
    async def handler(request: Request, exchange: Exchange) -> None:
        exchange.start(200, ())
        await exchange.write(b"half")
        exchange.abort()
        with pytest.raises(Gone):
            await exchange.write(b"more")

    async def test() -> None:
        async with serving(handler) as server, wire(server.port) as client:
            client.send(GET)
            assert not (await client.until_broken()).endswith(b"0\r\n\r\n")

    uvloop.run(test())


# Clients that leave, and clients that do not read


def test_the_handler_is_told_once_when_the_client_leaves() -> None:
    async def test() -> None:
        told: list[str] = []
        handler = Handler()
        async with serving(handler) as server:
            async with wire(server.port) as client:
                client.send(GET)
                await soon(lambda: handler.exchanges)
                (exchange,) = handler.exchanges
                exchange.on_gone(lambda: told.append("a"))
                exchange.on_gone(lambda: told.append("b"))
                assert not exchange.gone
            await soon(lambda: exchange.gone)
            exchange.on_gone(lambda: told.append("late"))
            await soon(lambda: len(told) == 3)
            assert told == ["a", "b", "late"]
            handler.go_on.set()
            await soon(lambda: server.active == 0)

    uvloop.run(test())


def test_nobody_is_told_when_the_client_leaves_after_its_answer() -> None:
    async def test() -> None:
        told: list[str] = []
        handler = Handler()
        handler.go_on.set()
        async with serving(handler) as server:
            async with wire(server.port) as client:
                client.send(GET)
                await client.answer()
                handler.exchanges[0].on_gone(lambda: told.append("a"))
            await soon(lambda: not server._connections)
            await asyncio.sleep(0)
            assert (told, handler.exchanges[0].gone) == ([], False)

    uvloop.run(test())


def test_a_client_that_ends_its_side_is_gone() -> None:
    async def test() -> None:
        handler = Handler()
        async with serving(handler) as server, wire(server.port) as client:
            client.send(GET)
            await soon(lambda: handler.exchanges)
            client.writer.write_eof()
            await soon(lambda: handler.exchanges[0].gone)
            assert await client.rest() == b""

    uvloop.run(test())


async def endless(request: Request, exchange: Exchange) -> None:
    """Writes until the client is gone."""
    exchange.start(200, ())
    while True:
        await exchange.write(b"x" * 10_000)


def test_writing_to_a_client_that_left_ends_the_handler() -> None:
    async def test() -> None:
        async with serving(endless) as server:
            async with wire(server.port) as client:
                client.send(GET)
                await client.exactly(1_000_000)
            await soon(lambda: server.active == 0)

    uvloop.run(test())


def test_writing_waits_for_a_client_that_reads_slowly() -> None:
    async def test() -> None:
        async with serving(endless) as server, wire(server.port) as client:
            client.send(GET)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined] # asyncio's types say less than is there
            await soon(lambda: next(iter(server._connections)).full)
            connection = next(iter(server._connections))
            assert connection._transport.get_write_buffer_size() < 200_000
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await client.exactly(20_000_000)

    uvloop.run(test())


def test_a_client_that_takes_nothing_for_too_long_is_gone() -> None:
    async def test() -> None:
        async with serving(endless, SHORT) as server, wire(server.port) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(GET)
            await soon(lambda: server.active == 1)
            await soon(lambda: server.active == 0)

    uvloop.run(test())


def test_a_whole_answer_that_nobody_takes_is_given_up() -> None:
    async def test() -> None:
        async def handler(request: Request, exchange: Exchange) -> None:
            exchange.send(Response(200, (), b"x" * 30_000_000))

        async with serving(handler, SHORT) as server, wire(server.port) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(GET)
            await soon(lambda: server._connections)
            await soon(lambda: not server._connections)

    uvloop.run(test())


def test_while_a_client_does_not_take_its_answers_its_requests_wait() -> None:
    async def test() -> None:
        asked: list[Request] = []

        async def handler(request: Request, exchange: Exchange) -> None:
            asked.append(request)
            exchange.send(Response(200, (), b"x" * 10_000_000))

        async with serving(handler) as server, wire(server.port) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(GET * 3)
            await soon(lambda: asked)
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(asked) == 1
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(3):
                assert len((await client.answer())[2]) == 10_000_000

    uvloop.run(test())


# Time and numbers


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", 0),
        (b"GET / HTT", 408),
        (GET[:-2], 408),
        (GET, 200),
        (post(b"hello")[:-1], 408),
        (CHUNKED + b"5\r\nhel", 408),
    ],
)
def test_a_connection_on_which_nothing_comes_is_closed(sent: bytes, status: int) -> None:
    async def test() -> None:
        async with serving(limits=SHORT) as server, wire(server.port) as client:
            client.send(sent)
            rest = await client.rest()
            assert rest.startswith(b"HTTP/1.1 %d " % status if status else b"")
            assert bool(rest) is bool(status)

    uvloop.run(test())


def test_a_head_that_comes_slowly_does_not_get_more_time() -> None:
    limits = dataclasses.replace(SHORT, idle_seconds=60)

    async def test() -> None:
        async with serving(limits=limits) as server, wire(server.port) as client:
            client.send(GET[:10])

            async def drip() -> None:
                while True:
                    client.send(b"x")
                    await asyncio.sleep(0.005)

            task = asyncio.create_task(drip())
            assert (await client.answer())[0] == 408
            task.cancel()

    uvloop.run(test())


def test_a_body_that_comes_slowly_does_not_get_more_time() -> None:
    limits = Limits(body_seconds=0.05)

    async def test() -> None:
        async with serving(limits=limits) as server, wire(server.port) as client:
            client.send(post(b"hello")[:-1])
            assert (await client.answer())[0] == 408

    uvloop.run(test())


def test_an_answer_may_take_longer_than_any_limit_of_reading() -> None:
    async def test() -> None:
        handler = Handler()
        async with serving(handler, SHORT) as server, wire(server.port) as client:
            client.send(GET)
            await soon(lambda: handler.requests)
            (connection,) = server._connections
            # Not even when the timer fires that was set for the head.
            await soon(lambda: connection._deadline._timer is None)
            handler.go_on.set()
            assert (await client.answer())[0] == 200

    uvloop.run(test())


def test_where_all_are_being_answered_one_connection_more_is_told_so_and_later_ones_are_served() -> None:
    async def test() -> None:
        asked, go = asyncio.Event(), asyncio.Event()

        async def slow(request: Request, exchange: Exchange) -> None:
            asked.set()
            await go.wait()
            exchange.send(Response(200))

        async with serving(slow, Limits(connections=1)) as server:
            async with wire(server.port) as first:
                first.send(GET)
                await asked.wait()
                async with wire(server.port) as second:
                    status, headers, _ = await second.answer()
                    assert (status, headers["connection"]) == (503, "close")
                    assert await second.rest() == b""
                go.set()
                assert (await first.answer())[0] == 200
            async with wire(server.port) as third:
                third.send(GET)
                assert (await third.answer())[0] == 200

    uvloop.run(test())


def test_a_server_that_stops_answers_what_runs_and_ends_what_is_idle() -> None:
    async def test() -> None:
        handler = Handler()
        async with serving(handler) as server, wire(server.port) as busy, wire(server.port) as idle:
            busy.send(GET + GET)
            await soon(lambda: handler.requests and len(server._connections) == 2)
            server.stop_accepting()
            assert await idle.rest() == b""
            with pytest.raises(OSError, match="refused"):
                await asyncio.open_connection("127.0.0.1", server.port)
            handler.go_on.set()
            assert (await busy.answer())[1]["connection"] == "close"
            assert await busy.rest() == b""

    uvloop.run(test())


def test_closing_waits_for_what_runs() -> None:
    async def test() -> None:
        handler = Handler()
        async with serving(handler) as server, wire(server.port) as client:
            client.send(GET)
            await soon(lambda: handler.requests)
            closing = asyncio.create_task(server.close(10))
            await asyncio.sleep(0)
            handler.go_on.set()
            assert (await client.answer())[0] == 200
            async with asyncio.timeout(5):
                await closing

    uvloop.run(test())


def test_closing_breaks_what_does_not_end() -> None:
    async def test() -> None:
        cancelled: list[str] = []

        async def handler(request: Request, exchange: Exchange) -> None:
            exchange.start(200, ())
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(request.path)

        async with serving(handler) as server, wire(server.port) as client:
            client.send(GET)
            await client.until(b"\r\n\r\n")
            async with asyncio.timeout(5):
                await server.close(0.01)
            assert (cancelled, server.active) == (["/"], 0)

    uvloop.run(test())


def test_a_port_in_use_is_an_os_error() -> None:
    async def test() -> None:
        async with serving() as server:
            with pytest.raises(OSError, match="in use"):
                await HttpServer.start("127.0.0.1", server.port, echo)

    uvloop.run(test())


def test_connections_that_ask_for_nothing_make_room_and_those_that_did_stay() -> None:
    async def test() -> None:
        async with serving(limits=Limits(connections=4)) as server, wire(server.port) as agent:
            agent.send(GET)
            await agent.answer()
            async with AsyncExitStack() as stack:
                for _ in range(20):
                    idle = await stack.enter_async_context(wire(server.port))
                    idle.send(b"GE")
                for _ in range(3):
                    async with wire(server.port) as other:
                        other.send(GET)
                        assert (await other.answer())[0] == 200
                agent.send(GET)
                assert (await agent.answer())[0] == 200

    uvloop.run(test())


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize(
    "body", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
def test_while_it_is_found_out_who_asks_nothing_of_a_body_is_read(body: bytes, refused: bool) -> None:
    async def test() -> None:
        asked, go = asyncio.Event(), asyncio.Event()

        async def wait() -> Response | None:
            asked.set()
            await go.wait()
            return Response(401) if refused else None

        async with serving(admit=lambda *_: wait()) as server, wire(server.port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + body + GET)
            await asked.wait()
            assert (server.room.taken < len(body + GET), server.active) == (True, 0)
            go.set()
            status, headers, said = await client.answer()
            if refused:
                assert (status, headers["connection"]) == (401, "close")
            else:
                assert (status, b"hello" in said, (await client.answer())[0]) == (200, True, 200)

    uvloop.run(test())


def test_a_client_that_leaves_while_it_is_found_out_who_it_is_ends_that() -> None:
    async def test() -> None:
        asked, ended = asyncio.Event(), asyncio.Event()

        async def wait() -> Response | None:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return None

        async with serving(admit=lambda *_: wait()) as server:
            async with wire(server.port) as client:
                client.send(GET)
                await asked.wait()
            async with asyncio.timeout(5):
                await ended.wait()

    uvloop.run(test())


def test_a_body_in_many_small_chunks_is_held_at_its_size() -> None:
    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            tracemalloc.start()
            client.send(b"2\r\nab\r\n" * 200_000)
            await soon(lambda: server.room.taken == 400_000)
            assert tracemalloc.get_traced_memory()[0] < 3_000_000
            tracemalloc.stop()

    uvloop.run(test())
