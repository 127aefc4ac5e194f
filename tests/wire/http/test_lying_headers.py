"""Headers that mirror a message are believed by what stands on the way: they must not say anything else."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.listener import Listener
from tests.support.peer import denied
from tests.wire.http.client import (
    STATELESS,
    Agent,
    Answer,
    Wire,
    call,
    first_message,
    hello,
    listing,
    mirrors,
    stateless,
)
from tests.wire.http.running import received, running
from tests.wire.http.server import Asked, Upstream, http, raw, result

CALL = call("careful", {"amount": 1})
MODERN = stateless(CALL)
VERSION, METHOD, NAME = f"MCP-Protocol-Version: {STATELESS}", "Mcp-Method: tools/call", "Mcp-Name: careful"


def sentinel(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


LIES: dict[str, tuple[str, ...]] = {
    "another method": (VERSION, "Mcp-Method: tools/list", NAME),
    "another case of the method": (VERSION, "Mcp-Method: Tools/Call", NAME),
    "another tool": (VERSION, METHOD, "Mcp-Name: shown"),
    "another case of the tool": (VERSION, METHOD, "Mcp-Name: Careful"),
    "another tool in Base64": (VERSION, METHOD, f"Mcp-Name: {sentinel('shown')}"),
    "the method in Base64": (VERSION, f"Mcp-Method: {sentinel('tools/call')}", NAME),
    "another method in Base64": (VERSION, f"Mcp-Method: {sentinel('ping')}", NAME),
    "no Base64": (VERSION, METHOD, "Mcp-Name: =?base64?careful?="),
    "Base64 with something behind": (VERSION, METHOD, f"Mcp-Name: {sentinel('careful')[:-2]}=?="),
    "Base64 of no UTF-8": (VERSION, METHOD, "Mcp-Name: =?base64?//79?="),
    "the text of the Base64": (VERSION, METHOD, f"Mcp-Name: {sentinel(sentinel('careful'))}"),
    "an empty tool": (VERSION, METHOD, "Mcp-Name: "),
    "a list of tools": (VERSION, METHOD, "Mcp-Name: careful, shown"),
    "no method": (VERSION, NAME),
    "no tool": (VERSION, METHOD),
    "no revision": (METHOD, NAME),
    "an older revision": ("MCP-Protocol-Version: 2025-11-25", METHOD, NAME),
    "a later revision": ("MCP-Protocol-Version: 2027-01-01", METHOD, NAME),
}


@pytest.mark.parametrize("lie", LIES)
def test_in_the_stateless_revision_every_lie_is_refused(
    relay: Listener, hosted: Listener, upstream: Upstream, child: Path, lie: str
) -> None:
    for listener in (relay, hosted):
        answer = Agent(listener.url).post(MODERN, *LIES[lie])
        # A child has sessions only in revisions that are named as such.
        refused = (400, -32020) if listener is relay or "no revision" not in lie else (400, answer.code)
        assert (answer.status, answer.code) == refused
        assert answer.message["id"] == 1
    assert upstream.asked("careful") == []
    assert received(child) == []


@pytest.mark.parametrize("twice", ["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Session-Id"])
def test_a_header_that_stands_twice_is_refused(
    relay: Listener, hosted: Listener, upstream: Upstream, twice: str
) -> None:
    for listener in (relay, hosted):
        values = {"MCP-Protocol-Version": STATELESS, "Mcp-Method": "tools/call", "Mcp-Name": "careful"}
        if twice not in values:
            values = {twice: "x"}
        message = MODERN if len(values) > 1 else CALL
        for again in (values[twice], "other", ""):
            lines = [f"{name}: {value}" for name, value in values.items()]
            assert Agent(listener.url).post(message, *lines, f"{twice.lower()}: {again}").status == 400
    assert upstream.asked("careful") == []


LEGACY_LIES = ("Mcp-Method: tools/list", "Mcp-Name: shown", f"Mcp-Name: {sentinel('shown')}", "Mcp-Method: ")


@pytest.mark.parametrize("lie", LEGACY_LIES)
def test_in_other_revisions_what_is_there_must_not_lie(
    relay: Listener, hosted: Listener, upstream: Upstream, child: Path, lie: str
) -> None:
    for listener in (relay, hosted):
        answer = Agent.with_session(listener.url).post(CALL, lie)
        assert (answer.status, answer.code) == (400, -32020)
    assert upstream.asked("careful") == []
    assert received(child) == []


def test_a_header_may_say_the_truth_in_base64(relay: Listener, upstream: Upstream) -> None:
    message = stateless(call("größe", {}))
    answer = Agent(relay.url).post(message, VERSION, METHOD, f"Mcp-Name: {sentinel('größe')}")
    assert answer.status == 200
    assert upstream.asked("größe")[-1].header("mcp-name") == sentinel("größe")


@pytest.mark.parametrize(("tool", "said"), [("größe", "größe"), ("grÃ¶Ã\x9fe", "größe"), ("größe", b"gr\xf6\xdfe")])
def test_a_name_beyond_ascii_is_not_believed_in_plain_bytes(
    relay: Listener, upstream: Upstream, tool: str, said: str | bytes
) -> None:
    """Whoever reads Latin-1 there and whoever reads UTF-8 find two names."""
    plain = (said if isinstance(said, bytes) else said.encode()).decode("latin-1")
    with Wire(relay.url) as wire:
        wire.ask(stateless(call(tool, {})), VERSION, METHOD, f"Mcp-Name: {plain}")
        assert wire.answer().code == -32020
    assert upstream.calls == []


def test_a_list_of_tools_in_the_headers_does_not_hide_a_call(relay: Listener, upstream: Upstream) -> None:
    answer = Agent(relay.url).post(stateless(call("forbidden")), *mirrors(stateless(listing())))
    assert (answer.status, answer.code) == (400, -32020)
    assert upstream.asked("forbidden") == []


def test_a_stateless_header_on_a_legacy_body_reaches_no_session(relay: Listener, upstream: Upstream) -> None:
    """The header decides that no session is looked for, so none may be named to the server."""
    victim = Agent.with_session(relay.url)
    for session in (victim.session, "made-up"):
        Agent(relay.url).post(CALL, VERSION, f"Mcp-Session-Id: {session}")
    assert [asked.header("mcp-session-id") for asked in upstream.asked("careful")] == [None, None]


def test_a_stateless_header_on_a_legacy_body_is_judged(relay: Listener, upstream: Upstream) -> None:
    assert denied(first_message(Agent(relay.url).post(call("forbidden"), VERSION))) == "never"
    assert upstream.asked("forbidden") == []


@pytest.mark.parametrize("body", [call("shown"), hello(), listing(), {**listing(), "method": "ping"}])
def test_a_stateless_header_on_a_legacy_body_moves_no_shared_child_to_another_revision(
    hosted: Listener, child: Path, body: dict[str, Any]
) -> None:
    before = len(received(child))
    answer = Agent(hosted.url).post(body, VERSION)
    assert (answer.status, answer.code) in ((400, -32602), (404, -32601))
    assert len(received(child)) == before
    other = stateless(call("shown"))
    assert "result" in first_message(Agent(hosted.url).post(other, *mirrors(other)))


def test_a_stateless_body_in_a_session_is_refused(relay: Listener, hosted: Listener, upstream: Upstream) -> None:
    for listener in (relay, hosted):
        agent = Agent.with_session(listener.url)
        for headers in ((), ("MCP-Protocol-Version: 2025-11-25",)):
            answer = agent.post(MODERN, *headers)
            assert (answer.status, answer.code) == (400, -32020)
    assert upstream.asked("careful") == []


def test_a_lie_about_one_message_of_a_batch_is_a_lie(relay: Listener, upstream: Upstream) -> None:
    agent = Agent.with_session(relay.url, revision="2025-03-26")
    answer = agent.post([CALL, call("shown", {}, 2)], "Mcp-Name: nothing")
    found: Any = json.loads(answer.body)
    assert [one["error"]["code"] for one in found] == [-32020, -32020]
    assert upstream.calls == []


# Arguments in headers.

SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer", "x-mcp-header": "Amount"},
        "where": {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}},
    },
}
MARKED = [{"name": "careful", "inputSchema": SCHEMA}, {"name": "shown", "inputSchema": {"type": "object"}}]
SAYS = {"amount": 3, "where": {"region": "Zürich"}}
TRUTH = ("Mcp-Param-Amount: 3", f"mcp-param-REGION: {sentinel('Zürich')}")
LYING: dict[str, tuple[str, ...]] = {
    "another number": ("Mcp-Param-Amount: 4", TRUTH[1]),
    "another text": (TRUTH[0], "Mcp-Param-Region: eu"),
    "the text in plain UTF-8": (TRUTH[0], "Mcp-Param-Region: " + "Zürich".encode().decode("latin-1")),
    "the text in plain Latin-1": (TRUTH[0], "Mcp-Param-Region: Zürich"),
    "no Base64": (TRUTH[0], "Mcp-Param-Region: =?base64?Z?="),
    "one is missing": TRUTH[:1],
    "none is there": (),
    "one stands twice": (*TRUTH, "Mcp-Param-Amount: 3"),
    "one stands twice with another value": (*TRUTH, "mcp-param-amount: 4"),
    "a list": ("Mcp-Param-Amount: 3, 4", TRUTH[1]),
    "an empty one": ("Mcp-Param-Amount:", TRUTH[1]),
}


def tell_of(upstream: Upstream, *tools: Any) -> None:
    upstream.says["tools/list"] = lambda asked, connection: connection.sendall(result(asked, {"tools": [*tools]}))


def asking(tool: str, arguments: Any, *headers: str, of: Agent) -> Answer:
    message = stateless(call(tool, arguments))
    return of.post(message, *mirrors(message), *headers)


@pytest.fixture(params=["relay", "in front of a program"])
def knowing(request: pytest.FixtureRequest, upstream: Upstream, tmp_path: Path) -> Iterator[Agent]:
    """A client of a fresh sidecar through which a list went that says which arguments are in headers."""
    tell_of(upstream, *MARKED)
    (tmp_path / "list.json").write_text(json.dumps({"tools": MARKED}))
    relayed = request.param == "relay"
    options, stub = (("--upstream", upstream.url), ()) if relayed else ((), ("--list", str(tmp_path / "list.json")))
    with running(tmp_path / "run", *options, stub=stub) as listener:
        agent = Agent(listener.url)
        message = stateless(listing())
        assert agent.post(message, *mirrors(message)).status == 200
        yield agent


def test_headers_that_say_what_the_arguments_say_pass(knowing: Agent) -> None:
    for headers in (TRUTH, ("Mcp-Param-Amount: 3.0", TRUTH[1]), (*TRUTH, "Mcp-Param-Other: says nothing")):
        assert "result" in first_message(asking("careful", SAYS, *headers, of=knowing))
    assert "result" in first_message(asking("shown", {"a": 1}, "Mcp-Param-Other: says nothing", of=knowing))
    assert "result" in first_message(asking("careful", {"amount": None}, of=knowing))
    # Policy judges the arguments as ever.
    answer = asking("careful", {"amount": 6}, "Mcp-Param-Amount: 6", of=knowing)
    assert (answer.status, denied(first_message(answer)) is None) == (200, False)


def test_every_lie_about_an_argument_is_refused(knowing: Agent, upstream: Upstream, tmp_path: Path) -> None:
    for lie, headers in LYING.items():
        answer = asking("careful", SAYS, *headers, of=knowing)
        assert (answer.status, answer.code, answer.message["id"]) == (400, -32020, 1), lie
    answer = asking("careful", {}, "Mcp-Param-Amount: 3", of=knowing)
    assert (answer.status, answer.code) == (400, -32020)
    assert upstream.asked("careful") == []
    assert not (log := tmp_path / "run" / "received.jsonl").exists() or log.read_text() == ""


def test_a_lie_about_an_argument_is_refused_in_a_call_that_came_before_too(knowing: Agent) -> None:
    for number in range(4):
        message = stateless(call("careful", SAYS, number))
        assert knowing.post(message, *mirrors(message), *TRUTH).status == 200
    answer = asking("careful", SAYS, "Mcp-Param-Amount: 4", TRUTH[1], of=knowing)
    assert (answer.status, answer.code) == (400, -32020)


def test_where_no_list_came_through_the_server_is_asked_for_one_as_the_client_would(
    upstream: Upstream, tmp_path: Path
) -> None:
    tell_of(upstream, *MARKED)
    options = ("--header", "X-Key: ours", "--forward-authorization", "--upstream", upstream.url)
    with running(tmp_path, *options) as listener:
        agent = Agent(listener.url, "Authorization: Bearer mine")
        assert asking("careful", SAYS, "Mcp-Param-Amount: 4", TRUTH[1], of=agent).code == -32020
        assert "result" in first_message(asking("careful", SAYS, *TRUTH, of=agent))
        (asked,) = upstream.asked("tools/list")
        assert (asked.header("authorization"), asked.header("x-key")) == ("Bearer mine", "ours")
        assert [asked.header(name) for name in ("mcp-method", "mcp-name", "mcp-param-amount")] == [
            "tools/list",
            None,
            None,
        ]
        assert asked.header("mcp-protocol-version") == STATELESS
        (call_,) = upstream.asked("careful")
        assert call_.header("mcp-param-amount") == "3"


def test_a_page_of_the_list_is_enough_wherever_it_stands(upstream: Upstream, tmp_path: Path) -> None:
    def say(asked: Asked, connection: socket.socket) -> None:
        page = int(asked.message["params"].get("cursor", 0))
        tools = MARKED if page == 2 else [{"name": f"t{page}", "inputSchema": {}}]
        connection.sendall(
            result(asked, {"tools": tools, "nextCursor": str(page + 1)} if page < 3 else {"tools": tools})
        )

    upstream.says |= {"tools/list": say, "1": say, "2": say, "3": say}
    with running(tmp_path, "--upstream", upstream.url) as listener:
        assert "result" in first_message(asking("careful", SAYS, *TRUTH, of=Agent(listener.url)))


BAD_LISTS: dict[str, Any] = {
    "another tool": lambda asked: result(asked, {"tools": MARKED[1:]}),
    "no list": lambda asked: result(asked, {}),
    "an error": lambda asked: http(500, b""),
    "no JSON": lambda asked: http(200, b"tools"),
    "nothing": lambda asked: b"",
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_what_headers_say_of_a_tool_that_no_list_names_is_not_believed(
    upstream: Upstream, tmp_path: Path, case: str
) -> None:
    upstream.says["tools/list"] = lambda asked, connection: raw(BAD_LISTS[case](asked))(asked, connection)
    with running(tmp_path, "--upstream", upstream.url) as listener:
        agent = Agent(listener.url)
        for tool in ("careful", *(f"made-up-{number}" for number in range(5))):
            answer = asking(tool, SAYS, *TRUTH, of=agent)
            assert (answer.status, answer.code) == (400, -32020)
        # However many names a client makes up, the server is asked no more than now and then.
        assert len(upstream.asked("tools/list")) <= 2
        assert "result" in first_message(asking("careful", SAYS, of=agent))
    assert [one.key for one in upstream.seen if one.key != "tools/list"] == ["careful"]


def test_in_a_session_and_on_the_legacy_transport_unknown_mirrors_are_not_believed(
    relay: Listener, hosted: Listener, upstream: Upstream
) -> None:
    for listener in (relay, hosted):
        answer = Agent.with_session(listener.url).post(CALL, "Mcp-Param-Amount: 1")
        assert (answer.status, answer.code) == (400, -32020)
    assert upstream.asked("careful") == []


@pytest.mark.parametrize("lie", [*LEGACY_LIES, "Mcp-Param-Amount: 1"])
def test_on_the_legacy_transport_headers_must_not_lie_either(legacy: Listener, lie: str) -> None:
    agent = Agent(legacy.url)
    with agent.opened(b"", "Accept: text/event-stream", method="GET", target="/sse") as stream_:
        stream_.begin()
        target = stream_.event()["data"]
        for message in (hello("2024-11-05"), CALL):
            with agent.opened(message, *([lie] if message is CALL else []), target=target) as wire:
                assert wire.answer().status == 202
        told = {message["id"]: message for message in (stream_.told(), stream_.told())}
    assert told[1]["error"]["code"] == -32020
