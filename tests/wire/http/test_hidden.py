"""A tool that policy hides is shown by no way of a server that wants to show it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.listener import Listener
from tests.support.peer import SECONDS
from tests.wire.http.client import Agent, Answer, call, first_message, listing, mirrors, stateless
from tests.wire.http.running import resuming
from tests.wire.http.server import HIDDEN, Asked, Upstream, chunk, event, http, reply, stream, tools

LIST: dict[str, Any] = {"tools": tools("shown", HIDDEN), "cacheScope": "public"}
SHOWN = {"tools": tools("shown"), "cacheScope": "private"}


def in_json(message: Callable[[Asked], Any], status: int = 200, kind: str = "application/json") -> Any:
    def say(asked: Asked, connection: socket.socket) -> None:
        found = message(asked)
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        connection.sendall(http(status, data, kind=kind))

    return say


def in_events(*messages: Callable[[Asked], Any], kind: str | None = None) -> Any:
    def say(asked: Asked, connection: socket.socket) -> None:
        connection.sendall(stream(*(event(message(asked), "e1", kind) for message in messages)))

    return say


def the_list(asked: Asked) -> Any:
    return reply(asked.id, LIST)


@pytest.mark.parametrize("say", [in_json(the_list), in_events(the_list)], ids=["JSON", "events"])
@pytest.mark.parametrize("kind", ["in a session", "without a session", "stateless"])
def test_a_list_is_shown_without_it_and_is_nobody_elses(
    relay: Listener, upstream: Upstream, say: Any, kind: str
) -> None:
    upstream.says["tools/list"] = say
    agent = Agent.with_session(relay.url) if kind == "in a session" else Agent(relay.url)
    message = stateless(listing()) if kind == "stateless" else listing()
    answer = agent.post(message, *(mirrors(message) if kind == "stateless" else ()))
    assert first_message(answer) == reply(1, SHOWN)


def test_a_list_of_a_child_is_shown_without_it(hosted: Listener, legacy: Listener) -> None:
    modern = stateless(listing())
    for answer in (Agent(hosted.url).post(modern, *mirrors(modern)), Agent.with_session(hosted.url).post(listing())):
        assert [tool["name"] for tool in first_message(answer)["result"]["tools"]] == ["shown"]
    with Agent(legacy.url).opened(b"", method="GET", target="/sse") as opened:
        assert opened.begin()[0] == 200
        address = opened.event()["data"]
        for number, message in enumerate((listing(1), listing(" 1 "), call("forbidden", {}, 3))):
            assert Agent(legacy.url).post(message, target=address).status == 202, number
            assert HIDDEN not in json.dumps(opened.told())


def wrapped(wrap: Callable[[Any], Any]) -> Callable[[Asked], Any]:
    return lambda asked: wrap(reply(asked.id, LIST))


TEXT = json.dumps(reply(0, LIST))

# Every message is one that some client may take for the list that it waits for under the id "7" or 7.
SMUGGLED: dict[str, Any] = {
    "the id as a text": lambda asked: reply(str(asked.id), LIST),
    "the id as a float": lambda asked: TEXT.replace('"id": 0', f'"id": {asked.id}.0').encode(),
    "the id with an exponent": lambda asked: TEXT.replace('"id": 0', f'"id": {asked.id}e0').encode(),
    "the id with blanks": lambda asked: reply(f" {asked.id} ", LIST),
    "the id in a list": lambda asked: reply([asked.id], LIST),
    "no id": lambda asked: {"jsonrpc": "2.0", "result": LIST},
    "the id null": lambda asked: reply(None, LIST),
    "the id twice": lambda asked: json.dumps(reply(9, LIST)).replace('"id": 9', f'"id": 9, "id": {asked.id}').encode(),
    "the id in capitals": lambda asked: {"jsonrpc": "2.0", "ID": asked.id, "result": LIST},
    "another id": lambda asked: reply(99, LIST),
    "result in capitals": lambda asked: {"jsonrpc": "2.0", "id": asked.id, "Result": LIST},
    "a result beside an error": lambda asked: reply(asked.id, LIST) | {"error": {"code": 1, "message": "m"}},
    "a result beside a method": lambda asked: reply(asked.id, LIST) | {"method": "ping"},
    "a notification with a result": lambda asked: {"jsonrpc": "2.0", "method": "notifications/x", "result": LIST},
    "no version": lambda asked: {"id": asked.id, "result": LIST},
    "another version": lambda asked: reply(asked.id, LIST) | {"jsonrpc": "1.0"},
    "a batch": lambda asked: [reply(asked.id, LIST)],
    "a batch in a batch": lambda asked: [[reply(asked.id, LIST)]],
    "two lists": lambda asked: json.dumps(reply(asked.id, {"tools": []}))[:-2].encode()
    + b', "tools": ' + json.dumps(LIST["tools"]).encode() + b"}}",
    "Tools beside the list": lambda asked: reply(asked.id, {"tools": [], "Tools": LIST["tools"]}),
    "tools in an object": lambda asked: reply(asked.id, {"tools": {HIDDEN: {"name": HIDDEN}}}),
    "the name in capitals": lambda asked: reply(asked.id, {"tools": [{"Name": HIDDEN}]}),
    "the name escaped": lambda asked: json.dumps(reply(asked.id, LIST)).replace("secret", "s\\u0065cret").encode(),
    "UTF-16": lambda asked: json.dumps(reply(asked.id, LIST)).encode("utf-16"),
    "a byte order mark": lambda asked: b"\xef\xbb\xbf" + json.dumps(reply(asked.id, LIST)).encode(),
    "two messages": lambda asked: (
        json.dumps(reply(asked.id, {"tools": []})).encode() + json.dumps(reply(asked.id, LIST)).encode()
    ),
    "a bare result": lambda asked: LIST,
}  # fmt: skip

BODIES: dict[str, Callable[[Callable[[Asked], Any]], Any]] = {
    "JSON": in_json,
    "JSON with status 201": lambda message: in_json(message, 201),
    "JSON with status 400": lambda message: in_json(message, 400),
    "JSON with status 404": lambda message: in_json(message, 404),
    "JSON with status 500": lambda message: in_json(message, 500),
    "JSON with status 302": lambda message: in_json(message, 302),
    "plain text": lambda message: in_json(message, 200, "text/plain"),
    "plain text with status 400": lambda message: in_json(message, 400, "text/plain"),
    "no type with status 400": lambda message: in_json(message, 400, ""),
    "a type like JSON with status 400": lambda message: in_json(message, 400, "application/problem+json"),
    "a type in capitals": lambda message: in_json(message, 200, "Application/JSON"),
    "events with status 400": lambda message: in_json(lambda asked: event(message(asked)), 400, "text/event-stream"),
}


def lacks_the_hidden(answer: Answer) -> bool:
    texts = [answer.body.decode(codec, "replace") for codec in ("utf-8", "utf-16-le", "utf-16-be")]
    return not any(HIDDEN in text.replace("\\u0065", "e") for text in texts)


@pytest.mark.parametrize("body", BODIES)
def test_no_body_shows_it(relay: Listener, upstream: Upstream, body: str) -> None:
    for revision in ("2025-03-26", "2025-11-25"):
        agent = Agent.with_session(relay.url, revision=revision)
        for number, (name, message) in enumerate({"the list": the_list, **SMUGGLED}.items(), 7):
            upstream.says["tools/list"] = BODIES[body](message)
            assert lacks_the_hidden(agent.post(listing(number))), (revision, name)


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-11-25"])
def test_no_event_shows_it(relay: Listener, upstream: Upstream, revision: str) -> None:
    agent = Agent.with_session(relay.url, revision=revision)
    for number, (name, message) in enumerate(SMUGGLED.items(), 7):
        for kind in (None, "message", "endpoint", "tools", "Message"):
            upstream.says["tools/list"] = in_events(message, kind=kind)
            assert lacks_the_hidden(agent.post(listing(f"{number}{kind}"))), (name, kind)
            upstream.says["tools/list"] = in_events(message, message, message, kind=kind)
            assert lacks_the_hidden(agent.post(listing(number * 1000))), (name, kind)


@pytest.mark.parametrize("shape", [LIST, {"Tools": LIST["tools"]}, {"tools": [{"name": "shown", "Name": HIDDEN}]}])
def test_an_answer_comes_down_the_stream_of_its_own_request_or_not_at_all(
    relay: Listener, upstream: Upstream, shape: dict[str, Any]
) -> None:
    """What one request waits for comes down the answer to another: clients exist that do not look at its id there."""
    agent, waits = Agent.with_session(relay.url), threading.Event()

    def wait(asked: Asked, connection: socket.socket) -> None:
        waits.set()
        connection.recv(1)

    def say(asked: Asked, connection: socket.socket) -> None:
        assert waits.wait(SECONDS)
        foreign = [event(reply(id_, shape)) for id_ in (2, "2", 2)]
        connection.sendall(stream(*foreign, event(reply(asked.id, {"content": []}))))

    upstream.says |= {"elsewhere": wait, "tools/list": say, "here": say}
    for asked in (listing(1), call("here", {}, 1)):
        with agent.opened(call("elsewhere", {}, 2)), agent.opened(asked) as wire:
            assert wire.begin()[0] == 200
            told = wire.told()
            assert (told["id"], HIDDEN in json.dumps(told)) == (1, False)
            assert wire.told() is None
        assert agent.post(b"", method="DELETE").status == 200
        agent = Agent.with_session(relay.url)
        waits.clear()


@pytest.mark.parametrize("body", ["JSON", "JSON with status 400"])
def test_a_body_that_answers_another_request_is_no_answer(relay: Listener, upstream: Upstream, body: str) -> None:
    agent, waits = Agent.with_session(relay.url), threading.Event()

    def wait(asked: Asked, connection: socket.socket) -> None:
        waits.set()
        connection.recv(1)

    upstream.says |= {"elsewhere": wait, "tools/list": BODIES[body](lambda asked: reply(2, LIST))}
    with agent.opened(call("elsewhere", {}, 2)):
        assert waits.wait(SECONDS)
        answer = agent.post(listing(1))
        assert HIDDEN not in answer.body.decode()
        assert b'"id":2' not in answer.body


LINE_ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize("end", LINE_ENDS, ids=ascii)
@pytest.mark.parametrize("field", ["id", "event", "retry", "", "data"])
def test_no_field_of_an_event_holds_a_list_for_who_ends_lines_elsewhere(
    relay: Listener, upstream: Upstream, end: str, field: str
) -> None:
    line = "data: " + json.dumps(reply(1, LIST), separators=(",", ":"))
    inside = json.dumps(f"{end}{line}{end}", ensure_ascii=False) if end > "\x1f" else '""'
    value = json.dumps({"jsonrpc": "2.0", "method": "notifications/x", "params": {"a": 0}}).replace("0}", inside + "}")
    text = f"{field}: {value if field == 'data' else f'1{end}{line}{end}'}\n\n"

    def say(asked: Asked, connection: socket.socket) -> None:
        connection.sendall(stream(text.encode(), event(reply(asked.id, SHOWN))))

    upstream.says["tools/list"] = say
    answer = Agent.with_session(relay.url).post(listing(1))
    lines = answer.body.decode().splitlines()
    assert not any(HIDDEN in line for line in lines if line.startswith("data: {") and '"id"' in line)


@pytest.mark.parametrize("method", ["tasks/result", "tasks/get", "vendor/everything", "initialize", "prompts/list"])
@pytest.mark.parametrize("say", [in_json, in_events], ids=["JSON", "events"])
def test_what_looks_like_a_list_is_shown_without_it_whatever_was_asked(
    relay: Listener, upstream: Upstream, method: str, say: Any
) -> None:
    agent = Agent.with_session(relay.url)
    for number, shape in enumerate((LIST, {"Tools": LIST["tools"]}, {"tools": [{"Name": HIDDEN}]}), 5):
        upstream.says[method] = say(lambda asked, shape=shape: reply(asked.id, shape))
        answer = agent.post({"jsonrpc": "2.0", "id": number, "method": method, "params": {"taskId": "t"}})
        assert (answer.status, lacks_the_hidden(answer)) == (200, True)


class Streams:
    """What a server says on the streams that clients open with GET."""

    def __init__(self, upstream: Upstream) -> None:
        self.connection: socket.socket | None = None
        self.opened = threading.Event()
        self._done = threading.Event()
        upstream.says["GET"] = self._say

    def _say(self, asked: Asked, connection: socket.socket) -> None:
        self.connection = connection
        connection.sendall(stream(end=False))
        self.opened.set()
        self._done.wait(SECONDS)

    def say(self, *messages: Any) -> None:
        assert self.opened.wait(SECONDS)
        assert self.connection is not None
        for number, message in enumerate(messages):
            self.connection.sendall(chunk(event(message, f"g{number}")))

    def end(self) -> None:
        self._done.set()


NEWS = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "the end"}}


@pytest.mark.parametrize("resumed", [False, True], ids=["listening", "resumed"])
def test_a_stream_that_a_client_listens_on_shows_it_under_no_id(
    relay: Listener, upstream: Upstream, resumed: bool
) -> None:
    agent, streams = Agent.with_session(relay.url), Streams(upstream)
    assert first_message(agent.post(listing(2)))["result"]["tools"] == SHOWN["tools"]
    with agent.listen(*([resuming(agent, upstream)] if resumed else [])) as wire:
        replies = [reply(id_, LIST) for id_ in (2, 0, 99, "2", 2.0, " 2 ", None, [2], "tools/list")]
        streams.say(*replies, [reply(2, LIST)], reply(2, LIST) | {"method": "notifications/x"}, NEWS)
        seen = []
        while (told := wire.told()) != NEWS:
            seen.append(told)
        assert HIDDEN not in json.dumps(seen)
    streams.end()


def test_a_stream_without_a_session_shows_no_list(relay: Listener, upstream: Upstream) -> None:
    streams = Streams(upstream)
    agent = Agent(relay.url)
    with agent.listen(resuming(agent, upstream)) as wire:
        streams.say(*(reply(id_, LIST) for id_ in (0, 1, 2, "2", None)), NEWS)
        assert wire.told() == NEWS
    streams.end()


def test_after_the_end_of_its_session_a_stream_shows_no_list(relay: Listener, upstream: Upstream) -> None:
    agent, streams = Agent.with_session(relay.url), Streams(upstream)
    assert first_message(agent.post(listing(2)))["result"]["tools"] == SHOWN["tools"]
    with agent.listen(resuming(agent, upstream)) as wire:
        assert agent.post(b"", method="DELETE").status == 200
        streams.say(reply(2, LIST), NEWS)
        assert wire.told() in (reply(2, SHOWN), NEWS)
    assert agent.post(listing(3)).status == 404
    streams.end()
