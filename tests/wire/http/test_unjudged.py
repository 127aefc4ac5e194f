"""No call reaches a server unjudged, however it is wrapped; and what reaches it is what was judged."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.listener import Listener
from tests.support.peer import denied
from tests.wire.http.client import STATELESS, Agent, Wire, call, first_message, head, hello, mirrors, stateless
from tests.wire.http.running import received
from tests.wire.http.server import Upstream, http, reply, text

FORBIDDEN = call("forbidden", {"amount": 1})
DENIED = "never"

SESSIONS = ("in a session", "without a session", "stateless")


def reaches(upstream: Upstream) -> list[str]:
    """The forbidden calls that the server got; there must be none."""
    return [asked.body.decode() for asked in upstream.seen if b"forbidden" in asked.body]


def agent_of(kind: str, url: str) -> Agent:
    return Agent.with_session(url) if kind == "in a session" else Agent(url)


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_forbidden_call_is_denied_and_an_allowed_one_reaches_the_server_as_it_was_judged(
    relay: Listener, upstream: Upstream, kind: str
) -> None:
    agent = agent_of(kind, relay.url)
    good, bad = call("careful", {"amount": 5, "kind": kind}), FORBIDDEN
    if kind == "stateless":
        good, bad = stateless(good), stateless(bad)
    headers = mirrors(bad) if kind == "stateless" else ()
    assert denied(first_message(agent.post(bad, *headers))) == DENIED
    assert denied(first_message(agent.post(call("careful", {"amount": 6}) if not headers else bad, *headers)))
    headers = mirrors(good) if kind == "stateless" else ()
    assert first_message(agent.post(good, *headers))["result"]["content"][0]["text"] == "done"
    assert upstream.asked("careful")[-1].message == good
    assert reaches(upstream) == []


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_forbidden_call_does_not_reach_a_child(hosted: Listener, child: Path, kind: str) -> None:
    agent = agent_of(kind, hosted.url)
    bad = stateless(FORBIDDEN) if kind == "stateless" else FORBIDDEN
    answer = agent.post(bad, *(mirrors(bad) if kind == "stateless" else ()))
    assert answer.code == -32600 if kind == "without a session" else denied(first_message(answer)) == DENIED
    assert [line for line in received(child) if line["params"]["name"] == "forbidden"] == []


# What a server may take for the forbidden call though the bytes are no plain call. `denied`, an error, or both.
TEXT = json.dumps(FORBIDDEN)
ODD_BODIES: dict[str, bytes] = {
    "a notification": json.dumps({k: v for k, v in FORBIDDEN.items() if k != "id"}).encode(),
    "id null": json.dumps(FORBIDDEN | {"id": None}).encode(),
    "id 1.0": TEXT.replace('"id": 1', '"id": 1.0').encode(),
    "id true": json.dumps(FORBIDDEN | {"id": True}).encode(),
    "with a result": json.dumps(FORBIDDEN | {"result": {}}).encode(),
    "with an error": json.dumps(FORBIDDEN | {"error": {"code": 1, "message": "m"}}).encode(),
    "two methods": TEXT.replace('"method"', '"method": "ping", "method"').encode(),
    "two methods, the other first": TEXT.replace('"tools/call"', '"tools/call", "method": "ping"').encode(),
    "two names": TEXT.replace('"name"', '"name": "shown", "name"').encode(),
    "an escaped second name": TEXT.replace('"name"', '"name": "shown", "n\\u0061me"').encode(),
    "Method": TEXT.replace('"method"', '"Method"').encode(),
    "METHOD beside a method": TEXT.replace('"method"', '"method": "ping", "METHOD"').encode(),
    "Params": TEXT.replace('"params"', '"Params"').encode(),
    "Name": TEXT.replace('"name"', '"name": "shown", "Name"').encode(),
    "TOOLS/CALL": TEXT.replace("tools/call", "TOOLS/CALL").encode(),
    "a blank behind": TEXT.replace("tools/call", "tools/call ").encode(),
    "a full-width slash": TEXT.replace("tools/call", "tools\uff0fcall").encode(),
    "an escaped method": TEXT.replace("tools/call", "tools\\/c\\u0061ll").encode(),
    "a byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 without a mark": TEXT.encode("utf-16-le"),
    "UTF-32": TEXT.encode("utf-32"),
    "UTF-7": TEXT.replace("{", "+AHs-").encode(),
    "Latin-1": TEXT.replace("never", "\xe9").replace('"amount"', '"\xe9"').encode("latin-1"),
    "two messages": TEXT.encode() + b"\n" + TEXT.encode(),
    "a second message behind": b'{"jsonrpc":"2.0","id":9,"method":"ping"}' + TEXT.encode(),
    "lines": b"\n" + TEXT.encode() + b"\n",
    "a NUL before": b"\0" + TEXT.encode(),
    "a comment": b"/* */" + TEXT.encode(),
    "a record separator": b"\x1e" + TEXT.encode() + b"\n",
    "a text with a message": json.dumps(TEXT).encode(),
    "an event": b"data: " + TEXT.encode() + b"\n\n",
    "a form": b"message=" + TEXT.encode(),
    "an array in an array": json.dumps([[FORBIDDEN]]).encode(),
    "an object around it": json.dumps({"messages": [FORBIDDEN]}).encode(),
    "NaN": TEXT.replace(": 1}", ": NaN}").encode(),
    "a lone surrogate": TEXT.replace('"amount"', '"\\ud800"').encode(),
    "deep": TEXT.replace(": 1}", ": " + "[" * 5000 + "]" * 5000 + "}").encode(),
    "jsonrpc 1.0": TEXT.replace("2.0", "1.0").encode(),
    "no jsonrpc": json.dumps({k: v for k, v in FORBIDDEN.items() if k != "jsonrpc"}).encode(),
}  # fmt: skip


@pytest.mark.parametrize("kind", SESSIONS)
def test_no_odd_body_carries_a_call_past_its_decision(relay: Listener, upstream: Upstream, kind: str) -> None:
    agent = agent_of(kind, relay.url)
    headers = (f"MCP-Protocol-Version: {STATELESS}",) if kind == "stateless" else ()
    for name, body in ODD_BODIES.items():
        answer = agent.post(body, *headers)
        assert answer.status in (200, 400), name
        message = first_message(answer)
        refused = message if isinstance(message, list) else [message]
        assert all("error" in one or denied(one) == DENIED for one in refused), name
    assert reaches(upstream) == []


def test_no_odd_body_carries_a_call_to_a_child(hosted: Listener, child: Path) -> None:
    agent = Agent.with_session(hosted.url)
    for name, body in ODD_BODIES.items():
        message = first_message(agent.post(body))
        refused = message if isinstance(message, list) else [message]
        assert all("error" in one or denied(one) == DENIED for one in refused), name
    assert received(child) == [] or all(line["params"]["name"] != "forbidden" for line in received(child))


ODD_HEADERS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "gzip": (gzip.compress(TEXT.encode()), ("Content-Encoding: gzip",)),
    "gzip, said to be x-gzip": (gzip.compress(TEXT.encode()), ("Content-Encoding: x-gzip",)),
    "gzip that is not said": (gzip.compress(TEXT.encode()), ()),
    "an unknown coding": (TEXT.encode(), ("Content-Encoding: zstd, identity",)),
    "two codings": (TEXT.encode(), ("Content-Encoding: identity", "Content-Encoding: gzip")),
    "UTF-16, said so": (TEXT.encode("utf-16"), ("Content-Type: application/json; charset=utf-16",)),
    "UTF-7, said so": (TEXT.encode(), ('Content-Type: application/json; charset="utf-7"',)),
    "two charsets": (TEXT.encode(), ("Content-Type: application/json; charset=utf-8; charset=utf-7",)),
    "an extended charset": (TEXT.encode(), ("Content-Type: application/json; charset*=us-ascii''utf-7",)),
    "a charset in parts": (TEXT.encode(), ("Content-Type: application/json; charset*0=utf; charset*1=-7",)),
    "text": (TEXT.encode(), ("Content-Type: text/plain",)),
    "a form": (TEXT.encode(), ("Content-Type: application/x-www-form-urlencoded",)),
    "parts": (TEXT.encode(), ("Content-Type: multipart/form-data; boundary=x",)),
    "json with a suffix": (TEXT.encode(), ("Content-Type: application/problem+json",)),
    "a list of types": (TEXT.encode(), ("Content-Type: application/json, text/plain",)),
    "two types": (TEXT.encode(), ("Content-Type: application/json", "Content-Type: text/plain")),
    "an empty type": (TEXT.encode(), ("Content-Type: ",)),
    "a folded header": (TEXT.encode(), ("X-A: b\r\n Mcp-Method: ping",)),
    "a name with a blank": (TEXT.encode(), ("Mcp-Method : ping",)),
    "a name with a control character": (TEXT.encode(), ("Mcp\x01Method: ping",)),
    "a value with a control character": (TEXT.encode(), ("X-A: a\x01b",)),
    "a value with a NUL": (TEXT.encode(), ("X-A: a\0b",)),
    "both framings": (b"0\r\n\r\n" + TEXT.encode(), ("Transfer-Encoding: chunked", "Content-Length: 5")),
    "both framings, the other way": (b"0\r\n\r\n" + TEXT.encode(), ("Content-Length: 5", "Transfer-Encoding: chunked")),
    "a coding that is chunked in capitals": (TEXT.encode(), ("Transfer-Encoding: CHUNKED", "Content-Length: 5")),
    "chunked twice": (b"0\r\n\r\n" + TEXT.encode(), ("Transfer-Encoding: chunked, chunked", "Content-Length: 5")),
    "two lengths": (TEXT.encode(), (f"Content-Length: {len(TEXT)}", "Content-Length: 2")),
    "a list of lengths": (TEXT.encode(), (f"Content-Length: {len(TEXT)}, {len(TEXT)}",)),
    "a signed length": (TEXT.encode(), (f"Content-Length: +{len(TEXT)}",)),
    "method override": (TEXT.encode(), ("X-HTTP-Method-Override: GET", "X-Method-Override: PUT")),
    "an upgrade": (TEXT.encode(), ("Connection: Upgrade", "Upgrade: websocket")),
    "a made-up session": (TEXT.encode(), ("Mcp-Session-Id: made-up",)),
    "two sessions": (TEXT.encode(), ("Mcp-Session-Id: server-session-1", "Mcp-Session-Id: server-session-1")),
    "a foreign revision": (TEXT.encode(), ("MCP-Protocol-Version: 2099-01-01",)),
    "no revision": (TEXT.encode(), ("MCP-Protocol-Version: zzz",)),
}  # fmt: skip


def test_no_odd_header_carries_a_call_past_its_decision(relay: Listener, hosted: Listener, upstream: Upstream,
                                                        child: Path) -> None:  # fmt: skip
    for listener in (relay, hosted):
        for name, (body, headers) in ODD_HEADERS.items():
            with Wire(listener.url) as wire:
                wire.ask(body, *headers)
                answer = wire.answer()
            assert (answer.status >= 400) or denied(first_message(answer)) == DENIED, name
            assert answer.status != 500, name
    assert reaches(upstream) == []
    assert [line for line in received(child) if line["params"]["name"] == "forbidden"] == []


METHODS = (
    "PUT",
    "PATCH",
    "OPTIONS",
    "HEAD",
    "TRACE",
    "CONNECT",
    "QUERY",
    "post",
    "Post",
    "XPOST",
    "PRI",
    "GET",
    "DELETE",
)
TARGETS = (
    "/", "//mcp", "/mcp/", "/MCP", "/mcp/call", "/%6dcp", "/mcp%2f", "/mcp%00", "/mcp;x", "/./mcp", "/x/../mcp",
    "/mcp.",
    "/sse", "/messages", "/messages?session_id=x", "\\mcp", "mcp", "*", "http://127.0.0.1/mcp", "/mcp#x",
)  # fmt: skip


def test_no_other_method_carries_a_call(relay: Listener, hosted: Listener, upstream: Upstream, child: Path) -> None:
    for listener in (relay, hosted):
        for method in METHODS:
            with Wire(listener.url) as wire:
                wire.ask(FORBIDDEN, method=method)
                status, _ = wire.begin()
            assert status >= 400 or (method, status) == ("DELETE", 200), method
    assert reaches(upstream) == []
    assert all(asked.body == b"" for asked in upstream.seen if asked.method in ("GET", "DELETE"))
    assert [line for line in received(child) if line["params"]["name"] == "forbidden"] == []


def test_no_other_target_is_served(relay: Listener, hosted: Listener, upstream: Upstream, child: Path) -> None:
    for listener in (relay, hosted):
        for target in TARGETS:
            with Wire(listener.url) as wire:
                wire.ask(FORBIDDEN, target=target)
                assert wire.answer().status in (400, 404), target
    assert reaches(upstream) == []
    assert [line for line in received(child) if line["params"]["name"] == "forbidden"] == []


def test_a_query_is_not_passed_on(relay: Listener, upstream: Upstream) -> None:
    assert Agent(relay.url).post(call("careful", {"amount": 1}), target="/mcp?x=%2f..&mcp=/other").status == 200
    assert {asked.target for asked in upstream.seen} == {"/mcp"}
    assert denied(first_message(Agent(relay.url).post(FORBIDDEN, target="/mcp?x"))) == DENIED


def test_a_request_in_the_body_of_another_is_not_one(relay: Listener, upstream: Upstream) -> None:
    with Wire(relay.url) as wire:
        hidden = head(wire.host, length=len(TEXT)) + TEXT.encode()
        wire.ask(hidden, method="GET")
        wire.ask(hidden)
        wire.ask({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert [wire.answer().status for _ in range(3)] == [405, 400, 200]
    assert reaches(upstream) == []


def test_requests_that_come_at_once_are_judged_one_by_one(relay: Listener, upstream: Upstream) -> None:
    good, bad = json.dumps(call("careful", {"amount": 1})).encode(), TEXT.encode()
    with Wire(relay.url) as wire:
        wire.send(b"".join(head(wire.host, length=len(body)) + body for body in (good, bad, good, bad)))
        answers = [first_message(wire.answer()) for _ in range(4)]
    assert [denied(one) for one in answers] == [None, DENIED, None, DENIED]
    assert reaches(upstream) == []


# Batches.


def test_a_batch_is_judged_element_by_element(relay: Listener, upstream: Upstream) -> None:
    agent = Agent.with_session(relay.url, revision="2025-03-26")

    def say(asked: Any, connection: Any) -> None:
        done = [reply(one["id"], text("done")) for one in asked.message if "id" in one]
        connection.sendall(http(200, json.dumps(done).encode()))

    upstream.says["batch"] = say
    batch = [
        call("careful", {"amount": 1}, 1), call("forbidden", {}, 2), call("careful", {"amount": 9}, 3),
        [call("forbidden", {}, 4)], hello(id_=5), {k: v for k, v in FORBIDDEN.items() if k != "id"},
        call("careful", {"amount": 2}, 1), call("once", {}, "1"), {"jsonrpc": "2.0", "method": "notifications/x"},
    ]  # fmt: skip
    answers = agent.post(batch).message
    (asked,) = upstream.asked("batch")
    assert asked.message == [batch[0], batch[8]]
    assert len(answers) == 8
    assert [one["id"] for one in answers if "result" in one and denied(one) is None] == [1]
    assert {one["id"] for one in answers if denied(one) is not None} == {2, 3}
    assert reaches(upstream) == []


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-06-18", "2025-11-25"])
def test_in_other_revisions_a_batch_is_refused_whole(relay: Listener, upstream: Upstream, revision: str) -> None:
    agent = Agent.with_session(relay.url, revision=revision)
    for batch in ([call("careful", {"amount": 1})], [[call("careful", {"amount": 1})]], [], [1]):
        answer = agent.post(batch)
        assert (answer.status, answer.code) == (400, -32600)
    assert upstream.calls == []


def test_a_stateless_batch_is_refused_whole(relay: Listener, hosted: Listener, upstream: Upstream) -> None:
    for listener in (relay, hosted):
        one = stateless(call("careful", {"amount": 1}))
        answer = Agent(listener.url).post([one], *mirrors(one))
        assert (answer.status, answer.code) == (400, -32600)
    assert upstream.calls == []


def test_a_batch_cannot_open_a_session(relay: Listener, hosted: Listener, upstream: Upstream) -> None:
    for listener in (relay, hosted):
        for batch in ([hello("2025-03-26")], [hello("2025-03-26"), FORBIDDEN], [FORBIDDEN, hello("2025-03-26")]):
            answer = Agent(listener.url).post(batch)
            assert "mcp-session-id" not in answer.headers
            assert b"serverInfo" not in answer.body
    assert reaches(upstream) == []


def test_what_is_sent_is_written_anew(relay: Listener, upstream: Upstream) -> None:
    """A server must not find in the bytes what we did not: they are ours, in UTF-8, whatever came."""
    spaced = (
        b' {"params" : {"name":"careful" ,"arguments":{"amount": 1.50e0, "t": "\\u0041\\/"}},\r\n "id":7,'
        b'\t"method":"tools/call","jsonrpc":"2.0"} '
    )
    answer = Agent(relay.url).post(spaced, 'Content-Type: Application/JSON; x="; charset=utf-8"; Charset=UTF-8')
    assert answer.status == 200
    asked = upstream.asked("careful")[-1]
    sent = (
        b'{"params":{"name":"careful","arguments":{"amount":1.50e0,"t":"A/"}},"id":7,'
        b'"method":"tools/call","jsonrpc":"2.0"}'
    )
    assert asked.body == sent
    assert asked.header("content-type") == "application/json"
    assert asked.header("content-length") == str(len(sent))
