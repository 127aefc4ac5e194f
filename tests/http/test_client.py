"""The client: what it sends, which answers it takes, what it says about a request that got none, and its pool."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.http.client import OURS, HttpClient, Lost, PendingRequest, Unreachable
from sidecar.http.client_connection import Phase
from sidecar.http.origin import Origin, parse
from sidecar.http.server import Exchange
from sidecar.http.values import Request, Response, field_lines
from sidecar.system.lines import TooLong
from tests.engine.asking import soon
from tests.http.serving import defects, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Script:
    """A server that sends what the test says, whatever it is asked. `heads` are the requests that came."""

    def __init__(self) -> None:
        self.connections: list[asyncio.StreamWriter] = []
        self.heads: list[bytes] = []
        self.says: list[bytes | None] = []
        """For each request the bytes to answer with; None ends the connection."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                said = self.says.pop(0) if self.says else OK
                if said is None:
                    return
                writer.write(said)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def scripted(*says: bytes | None, **options: Any) -> AsyncIterator[tuple[Script, HttpClient]]:
    """A scripted server and a client of it; no exception may have got away when they are closed."""
    found = defects()
    script = Script()
    script.says += says
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    client = HttpClient(Origin(False, "127.0.0.1", server.sockets[0].getsockname()[1]), **options)
    try:
        async with asyncio.timeout(20):
            yield script, client
    finally:
        await client.close()
        server.close()
        for writer in script.connections:
            writer.transport.abort()
    assert found == []


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    uvloop.run(main())


# URLs


@pytest.mark.parametrize(
    ("url", "origin", "target", "host"),
    [
        ("http://a/mcp", Origin(False, "a", 80), "/mcp", "a"),
        ("HTTPS://A.Example./x?y=%20#".rstrip("#"), Origin(True, "a.example.", 443), "/x?y=%20", "a.example."),
        ("http://a:8080", Origin(False, "a", 8080), "/", "a:8080"),
        ("https://a:443?x", Origin(True, "a", 443), "/?x", "a"),
        ("https://a:80/", Origin(True, "a", 80), "/", "a:80"),
        ("http://127.0.0.1:1//x@y", Origin(False, "127.0.0.1", 1), "//x@y", "127.0.0.1:1"),
        ("http://[::1]:8080/x", Origin(False, "::1", 8080), "/x", "[::1]:8080"),
        ("http://[0:0::0:1]", Origin(False, "::1", 80), "/", "[::1]"),
        ("http://my_service.ns:1/", Origin(False, "my_service.ns", 1), "/", "my_service.ns:1"),
    ],
)
def test_a_url_is_an_origin_and_a_target(url: str, origin: Origin, target: str, host: str) -> None:
    assert parse(url) == (origin, target)
    assert origin.host_header == host


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "begins with"), ("a/mcp", "begins with"), ("ftp://a/", "begins with"), ("http:/a", "begins with"),
        ("file:///etc/passwd", "begins with"), ("http://user@a/", "password"), ("http://user:secret@a/", "password"),
        ("http://a/#x", "fragment"), ("http://", "a host"), ("http:///x", "a host"), ("http://:80/", "a host"),
        ("http://a:/", "a host"), ("http://a:b/", "a host"), ("http://a:0/", "65535"), ("http://a:65536/", "65535"),
        ("http://[::1/", "a host"), ("http://[::g]/", "a host"), ("http://[1::2::3]/", "IPv6"),
        ("http://[fe80::1%eth0]/", "a host"), ("http://::1/", "a host"), ("http://a b/", "visible"),
        ("http://a/\n", "visible"), ("http://ä/", "visible"), ("http://a\0/", "visible"), ("http://a..b/", "labels"),
        ("http://" + "a" * 64, "labels"), ("http://a%41/", "a host"), ("http://a\\b/", "a host"),
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_server_is_refused_and_why_is_said(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as error:
        parse(url)
    assert "secret" not in str(error.value)


# Requests


def test_a_request_has_what_it_needs_and_what_the_caller_gave() -> None:
    async def test() -> None:
        async with scripted() as (script, client):
            answer = await client.send("POST", "/a?b", [("x-a", "b"), ("X-C", "ü")], b"{}")
            assert (answer.status, answer.headers.get("content-length")) == (200, None)
            assert await answer.read(10) == b"ok"
            assert script.heads[0].decode("latin-1").split("\r\n") == [
                "POST /a?b HTTP/1.1", f"host: {client._origin.host_header}", "accept-encoding: identity",
                "x-a: b", "X-C: ü", "content-length: 2", "", "",
            ]  # fmt: skip

    run(test)


@pytest.mark.parametrize(("method", "length"), [("POST", True), ("GET", False), ("DELETE", False)])
def test_a_request_without_a_body_says_so_where_one_is_expected(method: str, length: bool) -> None:
    async def test() -> None:
        async with scripted() as (script, client):
            await (await client.send(method, "/", [])).read(10)
            assert (b"content-length: 0" in script.heads[0]) is length

    run(test)


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/", [("x", "a\r\ny: b")]), ("GET", "/", [("x", "a\n")]), ("GET", "/", [("x", "\0")]),
        ("GET", "/", [("x", "€")]), ("GET", "/", [("x\r\ny", "b")]), ("GET", "/", [("x:y", "b")]),
        ("GET", "/", [("Host", "b")]), ("GET", "/", [("content-length", "5")]), ("GET", "/", [("TE", "trailers")]),
        ("GET", "/", [("Transfer-Encoding", "chunked")]), ("GET", "/", [("Connection", "close")]),
        ("GET", "/a b", []), ("GET", "/\r\n", []), ("GET", "", []), ("GET", "http://a/", []), ("GET", "/ä", []),
        ("GET / HTTP/1.1\r\nX:", "/", []), ("", "/", []), ("get", "/", []),
    ],
)  # fmt: skip
def test_what_would_break_a_request_is_not_sent(method: str, target: str, headers: list[tuple[str, str]]) -> None:
    async def test() -> None:
        async with scripted() as (script, client):
            with pytest.raises(ValueError):  # noqa: PT011 - one of several texts
                await client.send(method, target, headers)
            assert not script.connections

    run(test)


# Answers


TAKEN = {
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\no\r\n1\r\nk\r\n0\r\nX: y\r\n\r\n", b"ok"),
    "chunks, in another case": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
    "nothing": (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", b""),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b""),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
    "no reason": (b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "interim answers": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok"),
    "identity": (b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "an upgrade that is offered": (
        b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok", b"ok",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TAKEN)
@pytest.mark.parametrize("by_byte", [False, True])
def test_an_answer_is_read_and_its_connection_used_again(case: str, by_byte: bool) -> None:
    said, body = TAKEN[case]

    async def test() -> None:
        async with scripted(b"" if by_byte else said) as (script, client):
            sending = asyncio.create_task(client.send("POST", "/", [], b"x"))
            if by_byte:
                await soon(lambda: script.heads)
                for at in range(len(said)):
                    script.connections[0].write(said[at : at + 1])
                    await asyncio.sleep(0)
            assert await (await sending).read(10) == body
            assert await (await client.send("POST", "/", [], b"x")).read(10) == b"ok"
            assert len(script.connections) == 1

    run(test)


def test_an_answer_to_head_has_no_body_and_its_connection_is_used_again() -> None:
    async def test() -> None:
        async with scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n") as (script, client):
            answer = await client.send("HEAD", "/", [])
            assert (answer.headers.get("content-length"), await answer.read(10)) == ("50", b"")
            assert await (await client.send("GET", "/", [])).read(10) == b"ok"
            assert len(script.connections) == 1

    run(test)


ONCE = {
    "it says so": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    "it says so in another case": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\nok",
    "Keep-Alive: Timeout=0": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: Timeout=0\r\n\r\nok",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "more follows": OK + b"x",
    "another answer follows": OK + OK,
    "Keep-Alive: timeout=0": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: max=5, timeout=0\r\n\r\nok",
}


@pytest.mark.parametrize("case", ONCE)
def test_a_connection_that_is_not_to_be_used_again_is_not(case: str) -> None:
    async def test() -> None:
        async with scripted(ONCE[case]) as (script, client):
            for _ in range(2):
                assert await (await client.send("GET", "/", [])).read(10) == b"ok"
            assert len(script.connections) == 2

    run(test)


def test_a_body_that_ends_with_the_connection_is_whole() -> None:
    async def test() -> None:
        async with scripted(b"HTTP/1.1 200 OK\r\n\r\nhello", b"HTTP/1.1 200 OK\r\n\r\nhello") as (script, client):
            for way in range(2):
                answer = await client.send("GET", "/", [])
                script.connections[-1].close()
                if way:
                    assert await answer.read(10) == b"hello"
                else:
                    assert b"".join([piece async for piece in answer.chunks()]) == b"hello"

    run(test)


HEAD = b"HTTP/1.1 200 OK\r\n"
LOST = {
    "a length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\nok",
    "a signed length": HEAD + b"Content-Length: +2\r\n\r\nok",
    "gzip, chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "gzip as transfer coding": HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
    "an encoded body": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
    "two encodings": HEAD + b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
    "a change of protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "a long head": HEAD + b"X: " + b"y" * 40_000,
    "many fields": HEAD + b"X: y\r\n" * 300 + b"\r\n",
    "many interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + OK,
    "a folded line": HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "a bare LF": HEAD + b"X: a\nContent-Length: 2\r\n\r\nok",
    "bare LFs only": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "a blank before the colon": HEAD + b"Content-Length : 2\r\n\r\nok",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "an odd status": b"HTTP/1.1 20 OK\r\n\r\n",
    "the end": None,
    "half a head": HEAD,
}


@pytest.mark.parametrize("case", LOST)
def test_a_request_without_a_usable_answer_is_lost_and_not_sent_again(case: str) -> None:
    async def test() -> None:
        async with scripted(LOST[case]) as (script, client):
            sending = asyncio.create_task(client.send("POST", "/", [], b"x"))
            if LOST[case] == HEAD:
                await soon(lambda: script.heads)
                script.connections[0].close()
            with pytest.raises(Lost):
                await sending
            assert (len(script.heads), len(client._every)) == (1, 0)

    run(test)


def test_it_is_said_that_an_encoding_was_not_asked_for() -> None:
    async def test() -> None:
        async with scripted(LOST["an encoded body"]) as (_, client):
            with pytest.raises(Lost, match="Content-Encoding") as said:
                await client.send("POST", "/", [])
            assert said.value.kind == "unreadable"

    run(test)


@pytest.mark.parametrize(
    "said", [HEAD + b"Content-Length: 9\r\n\r\nhello", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
@pytest.mark.parametrize("abruptly", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_a_body_that_breaks_off_is_lost(said: bytes, abruptly: bool, whole: bool) -> None:
    async def test() -> None:
        async with scripted(said) as (script, client):
            answer = await client.send("GET", "/", [])
            seen: list[bytes] = []

            async def read() -> None:
                if whole:
                    await answer.read(10)
                async for piece in answer.chunks():
                    seen.append(piece)
                    script.connections[0].transport.abort() if abruptly else script.connections[0].close()

            if whole:
                script.connections[0].close()
            with pytest.raises(Lost):
                await read()
            assert seen == ([] if whole else [b"hello"])

    run(test)


@pytest.mark.parametrize("end", [b"zz\r\n", b"3\r\nabcd\r\n"])
def test_chunks_that_break_the_rules_are_lost(end: bytes) -> None:
    async def test() -> None:
        async with scripted(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + end) as (_, client):
            with pytest.raises(Lost):
                await (await client.send("GET", "/", [])).read(100)

    run(test)


def test_a_body_that_is_too_long_is_thrown_away_but_for_its_ends_and_the_connection_is_used_again() -> None:
    async def test() -> None:
        body = b"a" * 500_000 + b"b" * 500_000
        async with scripted(HEAD + b"Content-Length: 1000000\r\n\r\n" + body) as (script, client):
            answer = await client.send("GET", "/", [])
            assert await answer.read(999_999) == TooLong(b"a" * 1024, b"b" * 1024, 999_999)
            await (await client.send("GET", "/", [])).read(10)
            assert len(script.connections) == 1

    run(test)


def test_an_answer_of_some_kilobytes_is_there_at_once() -> None:
    async def handler(request: Request, exchange: Exchange) -> None:
        assert isinstance(request.body, bytes)
        exchange.send(Response(200, (), request.body))

    async def test() -> None:
        async with serving(handler) as server:
            client = HttpClient(Origin(False, "127.0.0.1", server.port))
            for size in (0, 1, 100_000, 5_000_000):
                body = b"x" * size
                assert await (await client.send("POST", "/", [], body)).read(5_000_000) == body
            assert len(client._every) == 1
            await client.close()

    run(test)


# Streams


def test_a_stream_is_given_out_as_it_comes() -> None:
    async def test() -> None:
        async with scripted(HEAD + b"Transfer-Encoding: chunked\r\n\r\n") as (script, client):
            answer = await client.send("GET", "/", [])
            chunks = answer.chunks()
            for word in (b"one", b"two"):
                script.connections[0].write(b"3\r\n" + word + b"\r\n")
                assert await anext(chunks) == word
            script.connections[0].write(b"0\r\n\r\n")
            assert [piece async for piece in chunks] == []
            await (await client.send("GET", "/", [])).read(10)
            assert len(script.connections) == 1

    run(test)


def test_what_nobody_reads_stays_with_the_server() -> None:
    async def test() -> None:
        async with scripted(HEAD + b"Content-Length: 30000000\r\n\r\n" + b"x" * 30_000_000) as (_, client):
            answer = await client.send("GET", "/", [])
            (connection,) = client._every
            await soon(lambda: connection._phase is Phase.PAUSED)
            for _ in range(20):
                await asyncio.sleep(0)
            assert answer._waiting < 1_000_000
            assert sum([len(piece) async for piece in answer.chunks()]) == 30_000_000

    run(test)


@pytest.mark.parametrize("way", ["abort", "cancel", "break", "cancel send"])
def test_an_answer_that_is_given_up_ends_its_connection(way: str) -> None:
    async def test() -> None:
        said = b"" if way == "cancel send" else HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
        async with scripted(said) as (script, client):
            sending = asyncio.create_task(client.send("GET", "/", []))
            await soon(lambda: script.heads)
            if way == "cancel send":
                sending.cancel()
            else:
                answer = await sending
                chunks = answer.chunks()
                assert await anext(chunks) == b"one"
                if way == "abort":
                    answer.abort()
                elif way == "break":
                    await chunks.aclose()  # type: ignore[attr-defined] # it is a generator
                else:
                    reading = asyncio.ensure_future(anext(chunks))
                    await asyncio.sleep(0)
                    reading.cancel()
            await soon(lambda: not client._every)
            assert await (await client.send("GET", "/", [])).read(10) == b"ok"
            assert len(script.connections) == 2

    run(test)


def test_a_send_that_is_cancelled_as_its_answer_comes_harms_no_other() -> None:
    async def test() -> None:
        async with scripted(b"") as (script, client):
            sending = asyncio.create_task(client.send("GET", "/", []))
            await soon(lambda: script.heads)
            (connection,) = client._every
            connection.data_received(OK)
            sending.cancel()
            # The connection is free already, and another's before the task learns that it was cancelled.
            assert await (await client.send("GET", "/other", [])).read(10) == b"ok"
            assert (sending.cancelled(), len(script.connections)) == (True, 1)

    run(test)


class Heard:
    """What is heard of a request that nobody waits for."""

    def __init__(self) -> None:
        self.bodies: list[object] = []
        self.problems: list[Exception] = []

    def asking(self) -> PendingRequest:
        return PendingRequest(lambda answer: self.bodies.append(answer.whole(10)), self.problems.append)


def test_who_does_not_wait_is_called_back_with_the_answer() -> None:
    async def test() -> None:
        async with scripted(OK, OK, OK.replace(b": 2", b": 3") + b"!", None) as (script, client):
            heard = Heard()
            head = client.head("POST", "/x", field_lines([("x-a", "b")], OURS))
            for _ in range(3):
                known = len(heard.bodies)
                client.ask(head, b"", heard.asking(), None)
                await soon(lambda known=known: len(heard.bodies) > known)  # type: ignore[misc] # mypy reads no such lambda
            assert (heard.bodies, len(script.connections)) == ([b"ok", b"ok", b"ok!"], 1)
            client.ask(head, b"", heard.asking(), None)
            await soon(lambda: heard.problems)
            assert isinstance(heard.problems[0], Lost)

    run(test)


def test_who_does_not_wait_hears_that_nobody_is_reached() -> None:
    async def test() -> None:
        async with serving() as server:
            port = server.port
        client, heard = HttpClient(Origin(False, "127.0.0.1", port)), Heard()
        client.ask(client.head("GET", "/", field_lines((), OURS)), b"", heard.asking(), None)
        await soon(lambda: heard.problems)
        assert isinstance(heard.problems[0], Unreachable)

    run(test)


@pytest.mark.parametrize("sent", [False, True])
def test_a_request_that_is_given_up_is_not_heard_of_and_its_connection_ends(sent: bool) -> None:
    async def test() -> None:
        async with scripted(b"") as (script, client):
            heard = Heard()
            asking = heard.asking()
            client.ask(client.head("GET", "/", field_lines((), OURS)), b"", asking, None)
            if sent:
                await soon(lambda: script.heads)
            asking.give_up()
            await soon(lambda: not client._every and not client._connecting)
            assert (heard.bodies, heard.problems) == ([], [])

    run(test)


# Time, and the pool


def test_a_head_that_does_not_come_in_time_is_lost() -> None:
    async def test() -> None:
        async with scripted(b"") as (_, client):
            with pytest.raises(Lost, match="in time"):
                await client.send("POST", "/", [], head_seconds=0.02)
            assert not client._every

    run(test)


def test_the_time_for_the_head_does_not_bound_the_body() -> None:
    async def test() -> None:
        async with scripted(HEAD + b"Content-Length: 2\r\n\r\n") as (script, client):
            answer = await client.send("POST", "/", [], head_seconds=0.05)
            (connection,) = client._every
            # Not even when the timer fires that was set for the head.
            await soon(lambda: connection._deadline._timer is None)
            script.connections[0].write(b"ok")
            assert await answer.read(10) == b"ok"

    run(test)


def test_nobody_listening_is_unreachable() -> None:
    async def test() -> None:
        async with serving() as server:
            port = server.port
        with pytest.raises(Unreachable, match="refused"):
            await HttpClient(Origin(False, "127.0.0.1", port)).send("GET", "/", [])

    run(test)


def test_a_name_that_nobody_has_is_unreachable() -> None:
    async def test() -> None:
        with pytest.raises(Unreachable):
            await HttpClient(Origin(False, "no-such-host.invalid", 80)).send("GET", "/", [])

    run(test)


def test_a_connection_that_is_not_made_in_time_is_unreachable() -> None:
    async def test() -> None:
        async def never(*_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

        asyncio.get_running_loop().create_connection = never  # type: ignore[method-assign,assignment]
        with pytest.raises(Unreachable, match=r"within 0\.01 s"):
            await HttpClient(Origin(False, "127.0.0.1", 1), connect_seconds=0.01).send("GET", "/", [])

    asyncio.run(test())


def test_more_requests_than_connections_are_unreachable() -> None:
    async def test() -> None:
        async with scripted(b"", connections=1) as (script, client):
            first = asyncio.create_task(client.send("GET", "/", []))
            await soon(lambda: script.heads)
            with pytest.raises(Unreachable, match="in use"):
                await client.send("GET", "/", [])
            first.cancel()

    run(test)


def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
    async def test() -> None:
        async with scripted() as (script, client):
            await (await client.send("GET", "/", [])).read(10)
            script.connections[0].close()
            await soon(lambda: not client._every)
            assert await (await client.send("GET", "/", [])).read(10) == b"ok"

    run(test)


class Hasty:
    """A server in a thread that answers each connection once, and says `then` and closes it at once."""

    def __init__(self, then: bytes = b"") -> None:
        self._then = then
        self.went_on = threading.Semaphore(0)
        self.closed = threading.Semaphore(0)
        self._kept: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it is told to end by taking its socket away
            while True:
                connection, _ = self._listening.accept()
                connection.recv(1 << 16)
                connection.sendall(OK)
                self.went_on.acquire(timeout=10)
                connection.sendall(self._then)
                if self._then:
                    self._kept.append(connection)
                else:
                    connection.close()
                self.closed.release()

    def end(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._kept:
            connection.close()


@pytest.mark.parametrize("then", [b"", OK.replace(b"ok", b"no"), b"x"], ids=["ended", "spoke", "spoke a byte"])
def test_a_kept_connection_that_ended_or_spoke_is_not_used_though_the_loop_has_not_heard_of_it(then: bytes) -> None:
    async def test() -> None:
        server = Hasty(then)
        client = HttpClient(Origin(False, "127.0.0.1", server.port))
        try:
            for _ in range(3):
                answer = await client.send("POST", "/", [], b"{}")
                assert await answer.read(100) == b"ok"
                # The loop stands still until what the server does then is there to be read.
                server.went_on.release()
                assert server.closed.acquire(timeout=10)
        finally:
            await client.close()
            server.end()

    run(test)


def test_the_connection_that_was_used_last_is_used_first() -> None:
    async def test() -> None:
        async with scripted(b"", b"") as (script, client):
            both = [asyncio.create_task(client.send("GET", f"/{number}", [])) for number in range(2)]
            await soon(lambda: len(script.heads) == 2)
            for writer in (script.connections[1], script.connections[0]):
                writer.write(OK)
                await soon(lambda: any(task.done() for task in both))
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*both)
            last = client._idle[None][-1]
            await (await client.send("GET", "/", [])).read(10)
            assert client._idle[None][-1] is last

    run(test)


@pytest.mark.parametrize("said", [OK, OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=0\r\n\r\n")])
def test_an_idle_connection_is_dropped_before_the_server_would(said: bytes) -> None:
    async def test() -> None:
        async with scripted(said, idle_seconds=0.02) as (_, client):
            await (await client.send("GET", "/", [])).read(10)
            await soon(lambda: not client._every)

    run(test)


def test_a_connection_that_was_idle_for_too_long_is_not_used_even_if_nobody_dropped_it() -> None:
    async def test() -> None:
        async with scripted() as (script, client):
            await (await client.send("GET", "/", [])).read(10)
            client._idle[None][0]._fresh_until = 0.0
            await (await client.send("GET", "/", [])).read(10)
            assert len(script.connections) == 2

    run(test)


def test_a_server_that_speaks_unasked_is_not_listened_to() -> None:
    async def test() -> None:
        async with scripted(idle_seconds=60) as (script, client):
            await (await client.send("GET", "/", [])).read(10)
            script.connections[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            await soon(lambda: not client._every)
            assert await (await client.send("GET", "/", [])).read(10) == b"ok"

    run(test)


def test_a_connection_carries_requests_of_one_client_only() -> None:
    async def test() -> None:
        async with scripted() as (script, client):
            for whose in ("a", "b", "a", ("a", "b"), None, "b"):
                await (await client.send("GET", "/", [], whose=whose)).read(10)
            assert len(script.connections) == 4
            await soon(lambda: len(client._every) == 4)

    run(test)


def test_a_connection_is_not_used_after_an_answer_that_was_none_to_its_request() -> None:
    async def test() -> None:
        async with scripted() as (script, client):
            answer = await client.send("GET", "/", [])
            await answer.read(10)
            answer.retire()
            await (await client.send("GET", "/", [])).read(10)
            assert len(script.connections) == 2

    run(test)


def test_a_connection_that_is_in_use_again_carries_that_to_its_end_and_nothing_after_it() -> None:
    async def test() -> None:
        async with scripted() as (script, client):
            first = await client.send("GET", "/", [])
            await first.read(10)
            script.says.append(b"")
            second = asyncio.create_task(client.send("GET", "/", []))
            await soon(lambda: len(script.heads) == 2)
            first.retire()
            script.connections[0].write(OK)
            assert await (await second).read(10) == b"ok"
            await (await client.send("GET", "/", [])).read(10)
            assert len(script.connections) == 2

    run(test)


def test_where_there_are_many_connections_the_one_that_is_idle_longest_makes_room() -> None:
    async def test() -> None:
        async with scripted(connections=3) as (script, client):
            for whose in (1, 2, 3, 1, 4, 3):
                await (await client.send("GET", "/", [], whose=whose)).read(10)
            # The second client's was idle for longest when the fourth came.
            assert sorted(map(str, client._idle)) == ["1", "3", "4"]
            assert len(script.connections) == 4

    run(test)


def test_closing_ends_what_is_in_flight_and_nothing_is_sent_after_it() -> None:
    async def test() -> None:
        async with scripted(b"") as (script, client):
            sending = asyncio.create_task(client.send("GET", "/", []))
            await soon(lambda: script.heads)
            await client.close()
            with pytest.raises(Lost, match="closed"):
                await sending
            with pytest.raises(Unreachable, match="closed"):
                await client.send("GET", "/", [])

    run(test)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "pair.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("known", [True, False])
def test_over_tls_only_a_server_that_is_known_is_spoken_to(certificate: Path, known: bool) -> None:
    async def test() -> None:
        script = Script()
        ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ours.load_cert_chain(certificate)
        server = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=ours)
        context = ssl.create_default_context(cafile=str(certificate)) if known else None
        client = HttpClient(Origin(True, "127.0.0.1", server.sockets[0].getsockname()[1]), ssl_context=context)
        async with asyncio.timeout(20):
            if known:
                for _ in range(2):
                    assert await (await client.send("POST", "/", [], b"x")).read(10) == b"ok"
            else:
                with pytest.raises(Unreachable, match="its TLS certificate is not accepted: self-signed") as said:
                    await client.send("POST", "/", [], b"x")
                assert said.value.kind == "tls"
        assert len(script.heads) == (2 if known else 0)
        await client.close()
        server.close()
        await soon(lambda: not known or script.connections[0].is_closing())

    run(test)


def test_why_a_server_is_not_reached_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = Origin(False, "127.0.0.1", closed.getsockname()[1])

    async def test(plain: Origin) -> None:
        for kind, words, origin in (
            ("refused", "the connection is refused", nobody), ("tls", "TLS fails: wrong version number", plain),
            ("dns", "its name cannot be resolved", Origin(False, "no-such-name.invalid", 80)),
        ):  # fmt: skip
            client = HttpClient(origin)
            with pytest.raises(Unreachable, match=words) as said:
                await client.send("POST", "/", [], b"x")
            assert said.value.kind == kind
            await client.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=speak_http, args=(listening,), daemon=True).start()
        run(lambda: test(Origin(True, "127.0.0.1", listening.getsockname()[1])))


def speak_http(listening: socket.socket) -> None:
    """Answer whoever comes first, whatever he says."""
    connection, _ = listening.accept()
    with connection:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
