"""Our own endpoints: GET only, bounded in every direction, and no request is a defect of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvloop

from sidecar.http.endpoint import LIMITS, GetHandler, serve_gets
from sidecar.http.server import HttpServer
from sidecar.http.values import Request, Response
from tests.engine.asking import get, http, soon
from tests.http.serving import defects, wire

KEPT_OPEN = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def path_and_mark(request: Request) -> Response:
    """Answer a request with what of it arrived."""
    return Response(200, (), f"{request.path}\n{request.headers.get('x-mark')}".encode())


@asynccontextmanager
async def listening(answer: GetHandler = path_and_mark) -> AsyncIterator[HttpServer]:
    """An endpoint; no exception may have got away from it when it is closed."""
    found = defects()
    server = await serve_gets("127.0.0.1", 0, answer)
    try:
        yield server
    finally:
        await server.close(0)
    assert found == []


def test_a_get_is_answered_with_a_length() -> None:
    async def test() -> None:
        async with listening() as server:
            status, headers, body = await http(server.port, get("/a?b=c", X_Mark="1"))
            assert (status, body) == (200, b"/a\n1")
            assert headers["content-length"] == str(len(body))

    uvloop.run(test())


def test_a_header_that_matters_and_stands_twice_is_refused() -> None:
    async def test() -> None:
        async with listening() as server:
            request = "GET / HTTP/1.1\r\nHost: h\r\nX-Mark: 1\r\nx-mark: 2\r\nConnection: close\r\n\r\n"
            assert (await http(server.port, request))[0] == 400

    uvloop.run(test())


def test_a_connection_serves_one_request_after_another() -> None:
    async def test() -> None:
        async with listening() as server:
            _, _, rest = await http(server.port, KEPT_OPEN * 3 + get("/last").encode())
            assert rest.count(b"HTTP/1.1 200 OK") == 3
            assert b"/last" in rest

    uvloop.run(test())


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_every_other_method_is_refused(method: str) -> None:
    async def test() -> None:
        async with listening() as server:
            request = get("/").replace("GET", method, 1)
            status, headers, body = await http(server.port, request)
            assert (status, headers["allow"]) == (405, "GET, HEAD")
            assert body == b"only GET is allowed\n"

    uvloop.run(test())


@pytest.mark.parametrize(
    "body", [b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize(("method", "status"), [(b"GET", 413), (b"POST", 405), (b"HEAD", 413)])
def test_a_request_with_a_body_is_refused(method: bytes, status: int, body: bytes) -> None:
    async def test() -> None:
        async with listening() as server:
            got, headers, _ = await http(server.port, method + b" / HTTP/1.1\r\nHost: a\r\n" + body)
            assert (got, headers["connection"]) == (status, "close")

    uvloop.run(test())


def test_connections_that_ask_for_nothing_keep_nobody_out() -> None:
    async def test() -> None:
        async with listening() as server, AsyncExitStack() as stack:
            for number in range(2 * LIMITS.connections):
                idle = await stack.enter_async_context(wire(server.port))
                idle.send(KEPT_OPEN if number % 2 else b"GET ")
                if number % 2:
                    await idle.answer()
            assert (await http(server.port, get("/")))[0] == 200

    uvloop.run(test())


def test_while_all_that_may_be_are_being_answered_one_more_is_refused() -> None:
    async def test() -> None:
        go, asked = asyncio.Event(), []

        async def slow(request: Request) -> Response:
            asked.append(request)
            await go.wait()
            return Response(200)

        async with listening(slow) as server, AsyncExitStack() as stack:
            for _ in range(LIMITS.connections):
                (await stack.enter_async_context(wire(server.port))).send(KEPT_OPEN)
            await soon(lambda: len(asked) == LIMITS.connections)
            assert (await http(server.port, b""))[0] == 503
            go.set()

    uvloop.run(test())


def test_a_client_that_leaves_before_its_answer_ends_the_work_for_it() -> None:
    async def test() -> None:
        asked, ended = asyncio.Event(), asyncio.Event()

        async def slow(request: Request) -> Response:
            if request.path != "/slow":
                return Response(200)
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return Response(200)

        async with listening(slow) as server:
            async with wire(server.port) as client:
                client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
                await asked.wait()
            async with asyncio.timeout(5):
                await ended.wait()
            assert (await http(server.port, get("/fast")))[0] == 200

    uvloop.run(test())


def test_closing_ends_every_connection_and_frees_the_port() -> None:
    async def test() -> None:
        async with listening() as server, wire(server.port) as client:
            client.send(KEPT_OPEN)
            await client.answer()
            await server.close(0)
            assert await client.rest() == b""
            with pytest.raises(OSError, match="refused"):
                await asyncio.open_connection("127.0.0.1", server.port)

    uvloop.run(test())
