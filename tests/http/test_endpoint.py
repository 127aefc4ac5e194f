"""The listener for our own endpoints: GET only, bounded in every direction, and no request is a defect of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from sidecar import listener
from sidecar.listener import MAX_CONNECTIONS, Handler, HttpRequest, HttpResponse, Listener
from tests.engine import get, http, soon

KEPT_OPEN = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def path_and_headers(request: HttpRequest) -> HttpResponse:
    """Answer a request with what of it arrived."""
    shown = "\n".join([request.path, *(f"{name}={value}" for name, value in sorted(request.headers.items()))])
    return HttpResponse(200, shown.encode("latin-1"))


@asynccontextmanager
async def listening(handler: Handler = path_and_headers) -> AsyncIterator[Listener]:
    """A listener; no exception may have got away from it when it is closed."""
    defects: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context))
    served = await Listener.start("127.0.0.1", 0, handler)
    try:
        yield served
    finally:
        await served.close()
    assert defects == []


def test_a_get_is_answered_by_the_handler_with_a_length() -> None:
    async def test() -> None:
        async with listening() as served:
            status, headers, body = await http(served.port, get("/a?b=c", X_One="1"))
            assert status == 200
            assert headers["content-length"] == str(len(body))
            assert body.decode() == "/a\nconnection=close\nhost=localhost\nx-one=1"

    uvloop.run(test())


def test_of_repeated_headers_the_last_counts() -> None:
    async def test() -> None:
        async with listening() as served:
            request = "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nConnection: close\r\n\r\n"
            assert b"x-a=2" in (await http(served.port, request))[2]

    uvloop.run(test())


def test_a_connection_serves_one_request_after_another() -> None:
    async def test() -> None:
        async with listening() as served:
            _, _, rest = await http(served.port, KEPT_OPEN * 3 + get("/last").encode())
            assert rest.count(b"HTTP/1.1 200 OK") == 3
            assert b"/last" in rest

    uvloop.run(test())


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD", "CONNECT", "get", "FOO"]
)
def test_every_other_method_is_refused(method: str) -> None:
    async def test() -> None:
        async with listening() as served:
            request = get("/").replace("GET", method, 1)
            status, headers, body = await http(served.port, request)
            assert (status, headers["allow"]) == (405, "GET")
            assert body == (b"" if method == "HEAD" else b"only GET is allowed\n")

    uvloop.run(test())


BAD_REQUESTS = {
    "no HTTP": b"hello\r\n\r\n",
    "binary": bytes(range(256)) + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a blank in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "a zero byte in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "a length that is none": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "a negative length": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
}


@pytest.mark.parametrize("request_", BAD_REQUESTS)
def test_a_bad_request_is_refused_and_its_connection_closed(request_: str) -> None:
    async def test() -> None:
        async with listening() as served:
            status, headers, _ = await http(served.port, BAD_REQUESTS[request_])
            assert (status, headers["connection"]) == (400, "close")

    uvloop.run(test())


@pytest.mark.parametrize(
    "body", [b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD"])
def test_a_request_with_a_body_is_refused(method: bytes, body: bytes) -> None:
    async def test() -> None:
        async with listening() as served:
            status, headers, _ = await http(served.port, method + b" / HTTP/1.1\r\nHost: a\r\n" + body)
            assert (status, headers["connection"]) == (413, "close")

    uvloop.run(test())


@pytest.mark.parametrize("head", [b"GET /" + b"a" * 100_000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000])
def test_a_head_without_end_is_refused_before_it_is_all_read(head: bytes) -> None:
    async def test() -> None:
        async with listening() as served:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(head[:30_000])
            async with asyncio.timeout(5):
                assert (await reader.readline()).split()[1] in (b"431", b"400")
            writer.close()

    uvloop.run(test())


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: a\r\n", KEPT_OPEN])
def test_a_connection_that_is_idle_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "IDLE", 0.05)

    async def test() -> None:
        async with listening() as served, asyncio.timeout(5):
            status, _, _ = await http(served.port, sent)
            assert status == (200 if sent == KEPT_OPEN else 0)

    uvloop.run(test())


def test_connections_above_the_limit_are_closed_and_later_ones_are_served() -> None:
    async def test() -> None:
        async with listening() as served:
            held = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(MAX_CONNECTIONS)]
            for _, writer in held:
                writer.write(KEPT_OPEN)
            for reader, _ in held:
                await reader.readline()
            assert (await http(served.port, b""))[0] == 0
            for _, writer in held:
                writer.close()
            await soon(lambda: not served._tasks)
            assert (await http(served.port, get("/")))[0] == 200

    uvloop.run(test())


def test_a_client_that_leaves_before_its_answer_concerns_nobody_else() -> None:
    async def test() -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def slow(request: HttpRequest) -> HttpResponse:
            if request.path == "/slow":
                asked.set()
                await go_on.wait()
            return HttpResponse(200, b"x" * 1_000_000)

        async with listening(slow) as served:
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            await asked.wait()
            writer.transport.abort()
            go_on.set()
            assert (await http(served.port, get("/fast")))[0] == 200
            await soon(lambda: not served._tasks)

    uvloop.run(test())


def test_closing_ends_every_connection_and_frees_the_port() -> None:
    async def test() -> None:
        async with listening() as served:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(KEPT_OPEN)
            await reader.readline()
            await served.close()
            async with asyncio.timeout(5):
                await reader.read()
            writer.close()
            with pytest.raises(OSError, match="refused"):
                await asyncio.open_connection("127.0.0.1", served.port)

    uvloop.run(test())


def test_a_port_in_use_is_an_os_error() -> None:
    async def test() -> None:
        async with listening() as served:
            with pytest.raises(OSError, match="in use"):
                await Listener.start("127.0.0.1", served.port, path_and_headers)

    uvloop.run(test())
