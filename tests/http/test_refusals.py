"""What the server refuses by itself, as raw bytes over a socket: a short answer, and the end of the connection."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from sidecar.http.server import Limits
from tests.http.serving import serving, wire
from tests.http.unclear_requests import CHUNKS, FIVE, REFUSED, post


@pytest.mark.parametrize(
    "value", [b"close", b"Keep-Alive", b"Upgrade, HTTP2-Settings", b"TE, close", b"", b" , close,"]
)
def test_what_concerns_the_connection_may_be_named_there(value: bytes) -> None:
    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            client.send(post(b"Connection: " + value + b"\r\n"))
            assert (await client.answer())[0] == 200

    uvloop.run(test())


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"CHUNKED", b"cHuNkEd"])
def test_a_coding_is_read_whatever_its_case(coding: bytes) -> None:
    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            client.send(post(b"Transfer-Encoding: %b\r\n" % coding, body=CHUNKS) * 2)
            for _ in range(2):
                status, _, body = await client.answer()
                assert (status, body.splitlines()[-1]) == (200, b"b'hello'")

    uvloop.run(test())


@pytest.mark.parametrize("wish", [b"close", b"Close", b"CLOSE", b"keep-alive, Close"])
def test_a_client_ends_its_connection_whatever_the_case_it_says_so_in(wish: bytes) -> None:
    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            client.send(post(b"Connection: %b\r\n" % wish))
            status, headers, _ = await client.answer()
            assert (status, headers["connection"], await client.rest()) == (200, "close", b"")

    uvloop.run(test())


TRUE_REASONS = {
    "gzip, chunked": b"only chunked, alone, is understood as Transfer-Encoding\n",
    "chunks on HTTP/1.0": b"HTTP/1.0 has no Transfer-Encoding\n",
}


@pytest.mark.parametrize("case", TRUE_REASONS)
def test_the_reason_why_a_coding_is_refused_is_true(case: str) -> None:
    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            client.send(REFUSED[case][1])
            assert (await client.answer())[2] == TRUE_REASONS[case]

    uvloop.run(test())


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_be_read_in_two_ways_is_refused_and_the_connection_ends(case: str) -> None:
    status, request = REFUSED[case]

    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            client.send(request)
            got, headers, body = await client.answer()
            assert got == status
            assert headers["connection"] == "close"
            assert headers["content-type"].startswith("text/plain")
            assert 0 < len(body) < 100
            assert await client.rest() == b""

    uvloop.run(test())


@pytest.mark.parametrize("case", [name for name, (_, request) in REFUSED.items() if len(request) < 300])
def test_it_is_refused_the_same_when_it_comes_byte_by_byte(case: str) -> None:
    status, request = REFUSED[case]

    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            for at in range(len(request)):
                client.send(request[at : at + 1])
                await asyncio.sleep(0)
            assert (await client.answer())[0] == status
            assert await client.rest() == b""

    uvloop.run(test())


CONTROLS = [code for code in (*range(0x20), 0x7F) if code not in (0x09, 0x0A, 0x0D)]


@pytest.mark.parametrize("code", CONTROLS)
@pytest.mark.parametrize("value", [b"a%cb", b"%c", b"%ca", b"a%c"])
def test_control_characters_in_a_field_are_refused(code: int, value: bytes) -> None:
    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            client.send(post(b"X: " + value % code + b"\r\n"))
            assert (await client.answer())[0] == 400

    uvloop.run(test())


def test_nothing_after_a_refused_request_is_answered() -> None:
    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            client.send(post(FIVE, FIVE, body=b"hello") + post() * 3)
            assert (await client.rest()).count(b"HTTP/1.1 ") == 1

    uvloop.run(test())


def test_a_refusal_arrives_though_the_client_goes_on_sending() -> None:
    async def test() -> None:
        async with serving(limits=Limits(body=10)) as server, wire(server.port) as client:
            client.send(post(b"Content-Length: 5000000\r\n", body=b"x" * 5_000_000))
            assert (await client.answer())[0] == 413
            assert await client.rest() == b""

    uvloop.run(test())


def test_a_refusal_of_head_has_no_body() -> None:
    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            client.send(b"HEAD / HTTP/1.1\r\n\r\n")
            assert (await client.rest()).endswith(b"\r\n\r\n")

    uvloop.run(test())
