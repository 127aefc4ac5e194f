"""Headers that mirror a message are believed by what stands on the way: they must not say anything else."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.listener import Listener
from tests.support.peer import denied
from tests.wire.http import received
from tests.wire.http.client import (
    STATELESS,
    Agent,
    Wire,
    call,
    first_message,
    listing,
    mirrors,
    stateless,
)
from tests.wire.http.server import Upstream

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


def test_a_name_in_plain_utf_8_is_not_that_name(relay: Listener, upstream: Upstream) -> None:
    message = stateless(call("größe", {}))
    with Wire(relay.url) as wire:
        wire.ask(message, VERSION, METHOD, "Mcp-Name: größe".encode().decode("latin-1"))
        assert wire.answer().code == -32020
    assert upstream.asked("größe") == []


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


def test_a_stateless_header_on_a_legacy_body_is_judged(relay: Listener, hosted: Listener, upstream: Upstream) -> None:
    for listener in (relay, hosted):
        assert denied(first_message(Agent(listener.url).post(call("forbidden"), VERSION))) == "never"
    assert upstream.asked("forbidden") == []


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
