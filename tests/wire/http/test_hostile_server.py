"""A server that does its worst harms neither us nor the sessions of others; what it breaks is told to whoever waits."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.listener import Listener
from tests.support.peer import SECONDS, until
from tests.wire.http.client import Agent, call, first_message, listing
from tests.wire.http.running import running
from tests.wire.http.server import Asked, Upstream, chunk, event, http, raw, reply, stream, text

LIMIT = 64 << 10
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def relay(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    folder = tmp_path_factory.mktemp("relay")
    with running(folder, "--upstream", upstream.url, "--max-message", f"{LIMIT}") as listener:
        yield listener
        assert "Traceback" not in listener.errors
        assert "internal error" not in listener.errors


@pytest.fixture
def another(relay: Listener, upstream: Upstream) -> Iterator[Agent]:
    """Somebody else's session, which must go on whatever happens."""
    agent = Agent.with_session(relay.url)
    yield agent
    upstream.says.clear()
    assert agent.call("shown")["result"] == text("done")


def memory(listener: Listener) -> int:
    """What a process holds in memory, in bytes."""
    status = Path(f"/proc/{listener.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) << 10


BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "no HTTP": b"hello\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "half a body": JSON + b"Content-Length: 100\r\n\r\n{",
    "half a chunk": JSON + b"Transfer-Encoding: chunked\r\n\r\n50\r\n{",
    "no last chunk": JSON + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "a chunk of a wrong size": JSON + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}}}\r\n0\r\n\r\n",
    "a chunk whose size is no number": JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk of a huge size": JSON + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a negative length": JSON + b"Content-Length: -1\r\n\r\n{}",
    "a length that is no number": JSON + b"Content-Length: x\r\n\r\n{}",
    "two lengths": JSON + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "both framings": JSON + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip": JSON + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "too many interim answers": b"HTTP/1.1 102 P\r\n\r\n" * 50 + JSON + b"Content-Length: 2\r\n\r\n{}",
    "a switch of protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "a long header": JSON + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": JSON + b"X-A: a\r\n" * 5000 + b"\r\n",
    "a header with a NUL": JSON + b"X-A: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "a header with a bare line end": JSON + b"X-A: a\nX-B: b\r\nContent-Length: 2\r\n\r\n{}",
    "a folded header": JSON + b"X-A: a\r\n X-B: b\r\nContent-Length: 2\r\n\r\n{}",
    "a header without a name": JSON + b": a\r\nContent-Length: 2\r\n\r\n{}",
    "a header with a blank in its name": JSON + b"X A: a\r\nContent-Length: 2\r\n\r\n{}",
    "status 099": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\n{}",
    "status 204": b"HTTP/1.1 204 No\r\n\r\n",
    "status 304": b"HTTP/1.1 304 No\r\n\r\n",
    "status 205 with a body": b"HTTP/1.1 205 R\r\nContent-Length: 2\r\n\r\n{}",
    "no body": http(200, b""),
    "no type": http(200, b"{}", kind=""),
    "html": http(200, b"<html>", kind="text/html"),
    "text that is a message": http(200, json.dumps(reply(1, text("x"))).encode(), kind="text/plain"),
    "an array": http(200, b"[]"),
    "a number": http(200, b"1"),
    "no JSON": http(200, b"{"),
    "no UTF-8": http(200, b'{"jsonrpc":"2.0","id":1,"result":{"a":"\xff"}}'),
    "a deep message": http(200, b"[" * 20000 + b"]" * 20000),
    "a foreign id": http(200, json.dumps(reply(77, text("x"))).encode()),
    "a long message": http(200, json.dumps(reply(1, text("x" * LIMIT))).encode()),
    "a long message that is cut": JSON + b"Content-Length: 999999999\r\n\r\n" + b"x" * LIMIT * 3,
    "an empty stream": stream(),
    "a stream that breaks off": EVENTS + b"5\r\ndata:",
    "a stream of no UTF-8": stream(b"data: \xff\n\n"),
    "a stream with a type that has a NUL": stream(b"event: a\0b\nretry: 1\n\n", b"event: a\0\ndata: {}\n\n"),
    "a stream of fields that nobody knows": stream(b"x: y\n\n" * 100, b"retry: 9999999999999999\n\n", b"retry: -1\n\n"),
    "a stream with a half event": stream(b"data: " + json.dumps(reply(1, text("x"))).encode() + b"\n"),
    "a redirect": http(307, b"", "Location: /elsewhere"),
    "a redirect to another server": http(302, b"", "Location: http://127.0.0.1:9/"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_answer_is_an_error_with_the_id_and_no_other_session_notices(
    relay: Listener, upstream: Upstream, another: Agent, what: str
) -> None:
    agent = Agent.with_session(relay.url)
    upstream.says["broken"] = raw(BROKEN[what])
    for asking in (agent, Agent(relay.url)):
        answer = asking.post(call("broken"))
        message = first_message(answer)
        assert answer.status in (200, 205)
        assert message["id"] == 1
        assert message["error"]["code"] in (-32000, -32603), message
    assert len(upstream.asked("broken")) == 2
    assert len(upstream.seen) == len([asked for asked in upstream.seen if asked.target == "/mcp"])


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_broken_answer_to_what_is_no_post_ends_that_and_nothing_else(
    relay: Listener, upstream: Upstream, another: Agent, what: str, method: str
) -> None:
    agent = Agent.with_session(relay.url)
    upstream.says[method] = raw(BROKEN[what])
    with agent.opened(b"", method=method) as wire, suppress(EOFError):
        assert wire.answer().status != 500


ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "a line without an end": (EVENTS, chunk(b"x" * 65536)),
    "an event without an end": (EVENTS, chunk(b"data: x\n" * 8192)),
    "one data line": (EVENTS + chunk(b"data: "), chunk(b"x" * 65536)),
    "comments without an end": (EVENTS, chunk(b":\n" * 32768)),
    "a message in JSON": (JSON + CHUNKED + chunk(b'{"jsonrpc":"2.0","id":1,'), chunk(b" " * 65536)),
    "a message of a length that was said": (JSON + b"Content-Length: 999999999999999\r\n\r\n", b" " * 65536),
    "words of a refusal": (b"HTTP/1.1 500 X\r\nContent-Type: text/plain\r\n" + CHUNKED, chunk(b"x" * 65536)),
    "sizes of chunks": (JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 65536),
    "a head": (JSON, b"X-A: aaaaaaaaaaaaaaaa\r\n" * 4096),
    "interim answers": (b"", b"HTTP/1.1 102 P\r\n\r\n" * 4096),
    "lists that nobody asked for": (EVENTS, chunk(event(reply(99, {"tools": []})) * 100)),
}  # fmt: skip


@pytest.mark.parametrize("what", ENDLESS)
def test_what_has_no_end_fills_no_memory_holds_up_nobody_and_ends_with_its_client(
    relay: Listener, upstream: Upstream, another: Agent, what: str
) -> None:
    start, more = ENDLESS[what]
    flooded, ended = threading.Event(), threading.Event()

    def flood(asked: Asked, connection: socket.socket) -> None:
        try:
            connection.sendall(start)
            for number in range(100_000):
                connection.sendall(more)
                if number == 1000:
                    flooded.set()
        except OSError:
            ended.set()

    upstream.says["endless"] = flood
    agent, before = Agent.with_session(relay.url), memory(relay)
    with agent.opened(call("endless")):
        until(lambda: flooded.is_set() or ended.is_set(), 30)
        assert another.call("shown")["result"] == text("done")
        assert memory(relay) - before < 32 << 20
    assert ended.wait(SECONDS), "the server still sends, though nobody reads"
    assert agent.call("shown", None, 2)["result"] == text("done")


def test_an_event_that_is_too_long_is_refused_with_its_id_and_the_stream_lives_on(
    relay: Listener, upstream: Upstream
) -> None:
    agent = Agent.with_session(relay.url)

    def say(asked: Asked, connection: socket.socket) -> None:
        news = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "here"}}
        big = {"jsonrpc": "2.0", "id": asked.id, "result": text("x" * LIMIT)}
        connection.sendall(stream(event(news), event(big), event(news)))

    upstream.says["long"] = say
    with agent.opened(call("long", None, "the id")) as wire:
        assert wire.begin()[0] == 200
        assert wire.told()["params"]["data"] == "here"
        refused = wire.told()
        assert (refused["id"], refused["error"]["code"]) == ("the id", -32603)
        assert wire.told()["params"]["data"] == "here"
        assert wire.told() is None


def test_slow_bytes_hold_up_nobody_else(relay: Listener, upstream: Upstream, another: Agent) -> None:
    go_on = threading.Event()

    def drip(asked: Asked, connection: socket.socket) -> None:
        data = http(200, json.dumps(reply(asked.id, text("slow"))).encode())
        for at in range(len(data) - 1):
            connection.sendall(data[at : at + 1])
        assert go_on.wait(SECONDS)
        connection.sendall(data[-1:])

    upstream.says["slow"] = drip
    with Agent.with_session(relay.url).opened(call("slow")) as one, Agent(relay.url).opened(call("slow")) as other:
        until(lambda: len(upstream.asked("slow")) == 2)
        assert another.call("shown")["result"] == text("done")
        go_on.set()
        assert [first_message(wire.answer())["result"] for wire in (one, other)] == [text("slow")] * 2


def test_a_refusal_for_want_of_credentials_passes_as_it_is(relay: Listener, upstream: Upstream) -> None:
    challenge = 'Bearer resource_metadata="https://as.example/x", error="invalid_token"'
    problem = b'{"error":"invalid_token","error_description":"no"}'
    upstream.says |= {"tools/list": raw(http(401, problem, f"WWW-Authenticate: {challenge}"))}
    for agent in (Agent.with_session(relay.url), Agent(relay.url)):
        answer = agent.post(listing())
        assert (answer.status, answer.headers["www-authenticate"], answer.body) == (401, challenge, problem)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 429, 500, 502, 503])
def test_a_refusal_passes_with_its_words(relay: Listener, upstream: Upstream, status: int) -> None:
    upstream.says["tools/list"] = raw(http(status, b"No, <b>not</b> you.\n", "Retry-After: 3", kind="text/html"))
    answer = Agent(relay.url).post(listing())
    assert (answer.status, answer.body) == (status, b"No, <b>not</b> you.\n")
    assert (answer.headers["content-type"], answer.headers["retry-after"]) == ("text/html", "3")


def test_no_redirect_is_followed(relay: Listener, upstream: Upstream, another: Agent) -> None:
    with Upstream() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            upstream.says["moved"] = raw(http(status, b"", f"Location: {elsewhere.url}"))
            answer = first_message(Agent(relay.url).post(call("moved")))
            assert f"status {status}" in answer["error"]["message"]
            assert elsewhere.url not in json.dumps(answer)
        assert elsewhere.seen == []


def test_a_request_of_the_server_with_a_taken_id_is_not_passed_on_and_an_answer_goes_back_once(
    relay: Listener, upstream: Upstream
) -> None:
    agent = Agent.with_session(relay.url)

    def say(asked: Asked, connection: socket.socket) -> None:
        ask = {"jsonrpc": "2.0", "id": 1, "method": "roots/list"}
        connection.sendall(stream(event(ask), event(ask | {"id": "1"}), event(ask), event(reply(asked.id, text("x")))))

    upstream.says["asks"] = say
    with agent.opened(call("asks", None, 1)) as wire:
        assert wire.begin()[0] == 200
        told: list[Any] = []
        while (message := wire.told()) is not None:
            told.append(message)
    assert told == [{"jsonrpc": "2.0", "id": 1, "method": "roots/list"}, reply(1, text("x"))]
    for _ in range(2):
        assert agent.post(reply(1, {"roots": []})).status == 202
    assert Agent.with_session(relay.url).post(reply(1, {"roots": []})).status == 202
    assert len(upstream.asked("answer")) == 1
