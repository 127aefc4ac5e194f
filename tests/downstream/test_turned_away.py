"""Requests that a listener refuses: each is told once, with a word of `HTTP_REFUSALS`, and nothing the client said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.auth.authenticator import Authenticator
from sidecar.auth.hosts import Hosts
from sidecar.auth.refusal import NO_KEYS, Rejected
from sidecar.auth.token_file import TokenFile
from sidecar.downstream.guard import Guard
from sidecar.events import HTTP_REFUSALS, Event, HttpRefused
from sidecar.http.server import Limits
from sidecar.http.values import Headers, Request, TurnedAway
from sidecar.observe.endpoint import serve, telemetry
from sidecar.serve.refusals import refusals
from sidecar.settings import Address
from tests.downstream.fakes import run
from tests.http.serving import echo, serving, wire

SECRET = "s3cret-of-the-client"
HOST = b"Host: 127.0.0.1\r\n"
JSON = b"Content-Type: application/json\r\n"
GOOD = HOST + JSON + b"Authorization: Bearer good\r\n"


def asked(fields: bytes, start: bytes = b"POST /mcp", body: bytes = b"{}") -> bytes:
    """A request."""
    return b"%b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (start, fields, len(body), body)


CASES: dict[str, tuple[bytes, int, str]] = {
    "another host": (asked(b"Host: s3cret-of-the-client\r\n" + JSON), 421, "host"),
    "a page of another origin": (asked(GOOD + b"Origin: https://s3cret-of-the-client\r\n"), 403, "origin"),
    "another path": (asked(GOOD, b"POST /s3cret-of-the-client"), 404, "path"),
    "another method": (asked(GOOD, b"PUT /mcp"), 405, "method"),
    "another method without a body": (asked(GOOD, b"PUT /mcp", b""), 405, "method"),
    "another type": (asked(HOST + b"Content-Type: s3cret-of-the-client\r\n"), 415, "content_type"),
    "a header twice": (asked(GOOD + b"Content-Type: s3cret-of-the-client\r\n"), 400, "header"),
    "no credentials": (asked(HOST + JSON), 401, "credentials"),
    "wrong credentials": (asked(HOST + JSON + b"Authorization: Bearer s3cret-of-the-client\r\n"), 401, "credentials"),
    "two credentials": (asked(GOOD + b"Authorization: Bearer s3cret-of-the-client\r\n"), 400, "credentials"),
    "no HTTP": (b"s3cret-of-the-client\r\n\r\n", 400, "unreadable"),
    "no host": (asked(JSON), 400, "unreadable"),
    "a coding": (asked(GOOD + b"Content-Encoding: gzip\r\n"), 415, "content_type"),
    "a long head": (asked(GOOD + b"X: " + b"s3cret-of-the-client" * 100 + b"\r\n"), 431, "too_large"),
    "a long body": (asked(GOOD, body=b"s3cret-of-the-client" * 1000), 413, "too_large"),
    "a body that does not come": (asked(GOOD)[:-1], 408, "late"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_refused_request_is_told_once_with_its_reason(case: str, tmp_path: Path) -> None:
    sent, status, reason = CASES[case]
    (tmp_path / "tokens").write_text("good\n")
    guard = Guard(
        {"/mcp": ("POST",)}, Hosts("127.0.0.1", 80), Authenticator(TokenFile(tmp_path / "tokens")), lambda: False
    )
    told: list[Event] = []

    async def test() -> None:
        limits = Limits(head=1000, body=1000, body_seconds=0.2)
        async with serving(echo, limits, guard.admit) as server, wire(server.port) as client:
            server.turned_away = refusals("stub", "clients", told.append)
            client.send(sent)
            assert (await client.answer())[0] == status

    run(test())
    [event] = told
    assert isinstance(event, HttpRefused)
    assert (event.server, event.listener, event.status, event.reason) == ("stub", "clients", status, reason)
    assert event.peer == "127.0.0.1"
    assert event.text
    assert SECRET not in repr(event)
    assert reason in HTTP_REFUSALS


def test_a_request_that_is_answered_is_not_told() -> None:
    told: list[Event] = []

    async def test() -> None:
        async with serving() as server, wire(server.port) as client:
            server.turned_away = refusals("stub", "clients", told.append)
            client.send(asked(GOOD))
            assert (await client.answer())[0] == 200

    run(test())
    assert told == []


def test_a_connection_too_many_is_told() -> None:
    told: list[Event] = []

    async def test() -> None:
        began = asyncio.Event()

        async def hold(request: Request, exchange: object) -> None:
            began.set()
            await asyncio.Event().wait()

        async with serving(hold, Limits(connections=1)) as server, wire(server.port) as first:
            server.turned_away = refusals("stub", "clients", told.append)
            first.send(asked(GOOD, body=b""))
            async with asyncio.timeout(10):
                await began.wait()
            async with wire(server.port) as second:
                assert (await second.answer())[0] == 503

    run(test())
    assert [(event.status, event.reason) for event in told if isinstance(event, HttpRefused)] == [(503, "full")]


@pytest.mark.parametrize(
    ("start", "status", "reason"),
    [(b"GET /s3cret-of-the-client", 404, "path"), (b"POST /metrics", 405, "method"), (b"GET /metrics", 421, "host")],
)
def test_a_refusal_of_the_telemetry_listener_is_told(start: bytes, status: int, reason: str) -> None:
    told: list[Event] = []
    host = b"Host: s3cret-of-the-client\r\n" if reason == "host" else HOST
    answer = telemetry(lambda accept: (b"", "text/plain"), lambda: None)

    async def test() -> None:
        server = await serve(Address("127.0.0.1", 0), answer)
        server.turned_away = refusals("stub", "telemetry", told.append)
        try:
            async with wire(server.port) as client:
                client.send(asked(host, start, b""))
                assert (await client.answer())[0] == status
        finally:
            await server.close(0)

    run(test())
    [event] = told
    assert isinstance(event, HttpRefused)
    assert (event.listener, event.status, event.reason) == ("telemetry", status, reason)
    assert SECRET not in repr(event)


class NoKeys:
    """Verifies nothing, for want of keys."""

    def verify_at_once(self, token: str) -> Rejected:
        return NO_KEYS

    async def verify(self, token: str) -> Rejected:
        return NO_KEYS

    async def start(self) -> None:
        """There is nothing to get."""

    async def close(self) -> None:
        """There is nothing under way."""


@pytest.mark.parametrize(
    ("authenticator", "draining", "reason"),
    [(Authenticator(), True, "draining"), (Authenticator(verifier=NoKeys()), False, "keys")],
    ids=["draining", "keys"],
)
def test_a_listener_that_ends_or_has_no_keys_says_so(authenticator: Authenticator, draining: bool, reason: str) -> None:
    guard = Guard({"/mcp": ("POST",)}, Hosts("127.0.0.1", 80), authenticator, lambda: draining)
    fields = [("host", "127.0.0.1"), ("content-type", "application/json"), ("authorization", f"Bearer {SECRET}")]
    refusal = guard.admit("POST", "/mcp", Headers(fields))
    assert isinstance(refusal, TurnedAway)
    assert (refusal.status, refusal.reason) == (503, reason)
    assert SECRET not in repr(refusal)
